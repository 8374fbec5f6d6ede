// Elements, and how numbers are written. Texts go in as text, never as markup: names come from other people's programs.

/** An element: h("a.name", {href: "#/"}, "text", child, ...). Handlers are functions under "onclick" and the like. */
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  put(element, ...children);
  return element;
}

/** Replace what is in an element. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const UNKNOWN = "–";

export function count(value) {
  return value === null || value === undefined ? UNKNOWN : whole.format(value);
}

/** A rate, or another number of any size, in three figures or so. */
export function rate(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "0";
  if (value >= 100) return whole.format(value);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function seconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "0 s";
  if (value < 1e-3) return `${(value * 1e6).toPrecision(value < 1e-5 ? 2 : 3)} µs`;
  if (value < 1) return `${(value * 1e3).toPrecision(3)} ms`;
  if (value < 120) return `${value.toPrecision(3)} s`;
  if (value < 7200) return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
  return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`;
}

export function bytes(value) {
  if (value === null || value === undefined) return UNKNOWN;
  let unit = 0;
  while (value >= 1024 && unit < 5) { value /= 1024; unit += 1; }
  return `${unit && value < 10 ? value.toFixed(1) : value.toFixed(0)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}

export function percent(share) {
  return share === null || share === undefined ? UNKNOWN : `${(share * 100).toFixed(0)} %`;
}

const hours = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export function clock(day) {
  return hours.format(day * 1000);
}

/** A share as a bar, with a text beside it. warns: whether much of it is trouble. */
export function meter(share, text, warns = true) {
  if (share === null || share === undefined) return h("span.dim", null, UNKNOWN);
  const fill = h("b");
  fill.style.width = `${Math.min(100, share * 100).toFixed(1)}%`;
  return h(`span.meter${!warns ? "" : share > 0.97 ? ".full" : share > 0.85 ? ".high" : ""}`, null, h("i", null, fill), text ?? percent(share));
}

const GOOD = new Set(["up", "ALIVE", "runs", "live"]);
const BAD = new Set(["lost", "DEAD", "WORKER_DIED", "ACTOR_DIED"]);
const WARN = new Set(["silent", "draining", "RESTARTING", "waits for its own"]);

export function badge(state) {
  return h(`span.badge${GOOD.has(state) ? ".good" : BAD.has(state) ? ".bad" : WARN.has(state) ? ".warn" : ""}`, null, state.toLowerCase().replaceAll("_", " "));
}

export const path = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");
export const worker = (name) => (name ? h("a", { href: path("worker", ...split(name)) }, name) : "");
export const node = (name) => (name ? h("a", { href: path("node", name) }, name) : "");
export const func = (name) => (name ? h("a", { href: path("function", name) }, swatch(name), name) : "");

/** "node/7" as its node and number; a node may have a slash in its name. */
export function split(name) {
  const at = name.lastIndexOf("/");
  return [name.slice(0, at), name.slice(at + 1)];
}

// Colours that people with any eyes can tell apart (Okabe and Ito's, and lighter ones), given out as functions come.
const COLOURS = ["#3b82f6", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8b7fd6", "#b2a100", "#7a8793", "#4bb5a4"];
const given = new Map();
export function colour(name) {
  if (!given.has(name)) given.set(name, COLOURS[given.size % COLOURS.length]);
  return given.get(name);
}
export function swatch(name) {
  const element = h("span.swatch");
  element.style.background = colour(name);
  return element;
}
