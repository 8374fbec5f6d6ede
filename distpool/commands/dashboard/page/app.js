// The page: which view is shown, by the address after "#"; and what all views have in common.
//
//   #/  #/tasks  #/workers  #/actors  #/memory  #/errors  #/logs      the tabs
//   #/function/NAME  #/node/NAME  #/worker/NODE/NUMBER  #/error/N  #/log/NODE/NUMBER     each thing

import { count, h, put } from "./dom.js";
import { begin, connection, listen, state } from "./live.js";
import { views } from "./views.js";

const TABS = [
  ["", "Overview"], ["tasks", "Tasks", "functions"], ["workers", "Workers", "workers"], ["actors", "Actors", "actors"],
  ["memory", "Memory"], ["errors", "Errors", "errors"], ["logs", "Logs"],
];
const OF_TAB = { function: "tasks", node: "", worker: "workers", error: "errors", log: "logs" };
const main = document.getElementById("main");
const tabs = TABS.map(([name, title, counted]) => {
  const number = counted ? h("span.count") : null;
  return { name, counted, number, element: h("a", { href: `#/${name}` }, title, number) };
});
put(document.getElementById("tabs"), ...tabs.map((tab) => tab.element));

let view = null;
function route() {
  const [name = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const make = views[name] ?? views.unknown;
  view = make(...rest);
  put(main, ...view.elements);
  const tab = OF_TAB[name] ?? name;
  for (const each of tabs) {
    if (each.name === tab) each.element.setAttribute("aria-current", "page");
    else each.element.removeAttribute("aria-current");
  }
  const title = view.title ?? tabs.find((each) => each.name === tab)?.element.firstChild.textContent;
  document.title = title ? `${title} · distpool` : "distpool";
  if (state.look) view.update?.(state);
}

// ------------------------------------------------------------------------------------------- what is always there

const pulse = document.getElementById("pulse");
const trouble = document.getElementById("trouble");
const pause = document.getElementById("pause");
window.paused = false;

function frame() {
  const { facts } = state;
  const words = { connecting: "connecting", live: "live", late: "no news", lost: "connection lost" };
  pulse.className = `pulse ${connection}`;
  const text = window.paused ? "paused" : words[connection];
  if (pulse.lastChild.textContent !== text) pulse.lastChild.textContent = text;
  if (connection === "lost") say(["The dashboard does not answer: it has ended, or the way to it is cut. What is shown is of " + new Date(state.arrived || Date.now()).toLocaleTimeString() + "."]);
  else say([facts.trouble, ...(facts.missing ?? [])].filter(Boolean));
  for (const tab of tabs) {
    if (!tab.counted) continue;
    const value = facts[tab.counted];
    tab.number.textContent = value === undefined ? "" : count(value);
    tab.number.hidden = !value;
    tab.number.classList.toggle("bad", tab.counted === "errors" && value > 0);
  }
  document.getElementById("cluster").textContent = facts.head ? `${facts.head}${facts.nodes > 1 ? ` and ${facts.nodes - 1} more` : ""}` : "";
  if (state.look && !window.paused && !document.hidden) view?.update?.(state);
}

function say(lines) {
  const shown = lines.slice(0, 5);
  if (lines.length > 5) shown.push(`and ${lines.length - 5} more`);
  const text = shown.join("\n");
  if (trouble.dataset.text === text) return;
  trouble.dataset.text = text;
  trouble.hidden = !text;
  put(trouble, ...shown.map((line) => h("p", null, line)));
}

function stop() {
  window.paused = !window.paused;
  pause.textContent = window.paused ? "Go on" : "Pause";
  pause.setAttribute("aria-pressed", String(window.paused));
  frame();
}

pause.addEventListener("click", stop);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  if (event.key === "p") stop();
  else if (event.key === "/") { const input = main.querySelector("input[type=search]"); if (input) { input.focus(); event.preventDefault(); } }
  else if (/^[1-7]$/.test(event.key)) location.hash = `#/${TABS[event.key - 1][0]}`;
});

const THEMES = ["system", "light", "dark"];
const theme = document.getElementById("theme");
function dress(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  theme.textContent = { system: "Auto", light: "Light", dark: "Dark" }[name];
  try { localStorage.setItem("distpool-theme", name); } catch { /* a browser that keeps nothing */ }
  if (state.look || view) route();
}
theme.addEventListener("click", () => dress(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % 3]));
let wanted = "system";
try { wanted = localStorage.getItem("distpool-theme") ?? "system"; } catch { /* the same */ }
dress(THEMES.includes(wanted) ? wanted : "system");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", route);

addEventListener("hashchange", () => { route(); main.focus({ preventScroll: true }); scrollTo(0, 0); });
document.addEventListener("visibilitychange", frame);
route();
listen(frame);
begin();
