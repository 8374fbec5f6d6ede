// What is shown under each address. A view is {title, elements, update(state)}; it is made anew when its address is opened.

import { badge, bytes, clock, count, func, h, meter, node, path, percent, put, rate, seconds, split, worker } from "./dom.js";
import { ask, state as live } from "./live.js";
import { Chart } from "./chart.js";
import { Stream } from "./stream.js";
import { Table } from "./table.js";

const BLUE = "#3b82f6", GREEN = "#22a06b", RED = "#dc4646", AMBER = "#e69f00", GREY = "#8a94a3";
const N = { number: true };
const FUNCTIONS_SHOWN = 50;

// ---------------------------------------------------------------------------------------------------- columns

const FUNCTION_COLUMNS = [
  { key: "name", title: "Function", show: (row) => func(row.name), full: (row) => row.name },
  { key: "rate", title: "Done / s", ...N, show: (row) => rate(row.rate), hint: "calls that ended, of the last ten seconds" },
  { key: "running", title: "Running", ...N, show: (row) => count(row.running) },
  { key: "sent", title: "Sent", ...N, show: (row) => about(row, "sent"), hint: "lie with a worker, and have not begun" },
  { key: "queued", title: "Queued", ...N, show: (row) => about(row, "queued"), hint: "wait for a worker" },
  { key: "waiting", title: "Waiting", ...N, show: (row) => about(row, "waiting"), hint: "wait for arguments, or for their turn at an actor" },
  { key: "done", title: "Done", ...N, show: (row) => count(row.done) },
  { key: "failed", title: "Failed", ...N, show: (row) => (row.failed ? h("a.bad", { href: "#/errors" }, count(row.failed)) : "0") },
  { key: "mean", title: "Mean", ...N, show: (row) => seconds(row.mean) },
  { key: "p50", title: "Median", ...N, show: (row) => seconds(row.p50) },
  { key: "p95", title: "95 %", ...N, show: (row) => seconds(row.p95), hint: "95 of 100 calls take no longer" },
  { key: "total", title: "In all", ...N, show: (row) => seconds(row.total), hint: "time that workers have spent in it" },
];
const about = (row, key) => (row.guessed && row[key] ? h("span", { title: "not all were looked at" }, `≈ ${count(row[key])}`) : count(row[key]));

const NODE_COLUMNS = [
  { key: "name", title: "Node", show: (row) => [node(row.name), row.head ? h("span.dim", null, "  head") : null].filter(Boolean) },
  { key: "state", title: "State", show: (row) => badge(row.state) },
  { key: "cpu", title: "CPU", show: (row) => busy(row.cpu) },
  { key: "cores", title: "CPUs in use", ...N, show: (row) => used(row, "CPU") },
  { key: "gpus", title: "GPUs in use", ...N, show: (row) => gpusUsed(row) },
  { key: "memory", title: "Memory", show: (row) => sized(row.memory) },
  { key: "store", title: "Object store", show: (row) => sized(row.store) },
  { key: "gpuMemory", title: "GPU memory", show: (row) => sized(row.gpuMemory) },
  { key: "workers", title: "Workers", ...N, show: (row) => count(row.workers) },
  { key: "wanted", title: "Wanted", ...N, show: (row) => count(row.wanted), hint: "workers that pools want, and that there is no room for yet" },
  { key: "load", title: "Load", ...N, show: (row) => rate(row.load) },
];
const gpusUsed = (row) => `${used(row, "GPU")}${row.gpu === null ? "" : `, ${percent(row.gpu)} busy`}`;
const used = (row, name) => (row.used[name] ? `${tidy(row.used[name][0])} / ${tidy(row.used[name][1])}` : "–");
const busy = (share) => meter(share, percent(share), false); // all CPUs at work is no trouble
const tidy = (value) => String(Math.round(value * 100) / 100);
const sized = (amount) => (amount ? meter(amount[0] / amount[1], `${bytes(amount[0])} of ${bytes(amount[1])}`) : h("span.dim", null, "–"));

const WORKER_COLUMNS = [
  { key: "worker", title: "Worker", show: (row) => worker(row.worker) },
  { key: "state", title: "State", show: (row) => [badge(row.state), row.kind && row.state !== row.kind ? h("span.dim", null, ` ${row.kind}`) : null].filter(Boolean) },
  { key: "function", title: "Runs", show: (row) => func(row.function) },
  { key: "for", title: "For", ...N, show: (row) => (row.for === null ? "" : seconds(row.for)) },
  { key: "cpu", title: "CPU", ...N, show: (row) => percent(row.cpu) },
  { key: "memory", title: "Memory", ...N, show: (row) => bytes(row.memory) },
  { key: "done", title: "Done", ...N, show: (row) => count(row.done) },
  { key: "failed", title: "Failed", ...N, show: (row) => (row.failed ? h("span.bad", null, count(row.failed)) : "0") },
  { key: "work", title: "Worked", ...N, show: (row) => seconds(row.work), hint: "time spent in calls that have ended" },
  { key: "holds", title: "Holds", show: (row) => row.holds || "–", hint: "what it has taken of its node" },
  { key: "pid", title: "Process", ...N },
  { key: "owner", title: "Works for", show: (row) => row.owner, full: (row) => row.owner },
];

const ERROR_COLUMNS = [
  { key: "at", title: "When", show: (row) => clock(row.at) },
  { key: "function", title: "Function", show: (row) => func(row.function) },
  { key: "headline", title: "Error", show: (row) => h("a", { href: path("error", row.number) }, row.headline || row.kind), full: (row) => row.headline },
  { key: "kind", title: "Kind", show: (row) => badge(row.kind) },
  { key: "worker", title: "Worker", show: (row) => worker(row.worker) },
  { key: "owner", title: "Called by", full: (row) => row.owner },
];

const POOL_COLUMNS = [
  { key: "pool", title: "Calls of" },
  { key: "owner", title: "Owner", full: (row) => row.owner },
  { key: "rate", title: "Done / s", ...N, show: (row) => rate(row.rate) },
  { key: "pending", title: "Queued", ...N, show: (row) => count(row.pending) },
  { key: "sent", title: "With workers", ...N, show: (row) => count(row.sent) },
  { key: "done", title: "Done", ...N, show: (row) => count(row.done), hint: "on the workers that it has now" },
  { key: "mean", title: "Mean", ...N, show: (row) => seconds(row.mean) },
  { key: "ready", title: "Workers", ...N, show: (row) => count(row.ready) },
  { key: "wanted", title: "Wanted", ...N, show: (row) => count(row.wanted) },
  { key: "failure", title: "Trouble", show: (row) => h("span.bad", null, row.failure), full: (row) => row.failure },
];

const NO_CALLS = ["No calls yet", "They appear with the first Pool.map, submit or .remote() of the program."];
const NO_ERRORS = ["No call has failed", "Errors of tasks and deaths of workers are listed here, with their tracebacks."];

// ---------------------------------------------------------------------------------------------------- overview

function overview() {
  const tiles = new Tiles(10);
  const charts = new Throughput();
  const load = new Chart({ title: "CPU and memory of all nodes", series: [{ label: "CPU", colour: BLUE, fill: true }, { label: "memory", colour: GREEN }, { label: "object store", colour: AMBER }], show: percent, whole: true });
  const stream = new Stream();
  const nodes = new Table({ title: "Nodes", columns: NODE_COLUMNS, key: (row) => row.name, href: (row) => path("node", row.name), empty: ["No node answers", "The cluster is being asked."], sort: "name" });
  const functions = new Table({ title: "Tasks by function", columns: FUNCTION_COLUMNS, key: (row) => row.name, href: (row) => path("function", row.name), empty: NO_CALLS, sort: "-total" });
  const errors = new Table({ title: "Latest errors", columns: ERROR_COLUMNS.slice(0, 5), key: (row) => row.number, href: (row) => path("error", row.number), empty: NO_ERRORS, sort: "-at", filter: false });
  return {
    elements: [tiles.element, h("div.row", null, charts.element, load.element), stream.element, functions.element, h("div.half", null, nodes.element), h("div.half", null, errors.element)],
    update(state) {
      const { facts } = state;
      tiles.update([
        [rate(facts.rate), "tasks a second"], [count(facts.running), "running"], [count(facts.queued + facts.sent + facts.waiting), "queued"],
        [count(facts.done), facts.failed ? `done, ${count(facts.failed)} failed` : "done", facts.failed ? "bad" : ""],
        [count(facts.busy), `of ${count(facts.workers)} workers`], [percent(facts.cpu), `of ${count(facts.cpus)} CPUs`],
        part(facts.memory, "memory"), part(facts.store, "store"), facts.gpus ? [tidy(facts.gpusUsed), `of ${tidy(facts.gpus)} GPUs${facts.gpu === null ? "" : `, ${percent(facts.gpu)} busy`}`] : null,
        facts.gpuMemory ? part(facts.gpuMemory, "GPU memory") : null,
      ]);
      charts.update(state);
      const since = state.at - charts.range;
      load.update(recent(charts.history, since, ["cpu", "memory", "store"].map((what) => means(charts.history, what))), since);
      stream.update(state);
      nodes.update(Object.values(state.nodes));
      functions.update(Object.values(state.functions));
      functions.note.textContent = [
        facts.functions > FUNCTIONS_SHOWN ? `the ${FUNCTIONS_SHOWN} busiest of ${count(facts.functions)}; all are under Tasks` : "",
        facts.sampled ? "some counts are estimates: more calls ended between two looks than workers remember" : "",
      ].filter(Boolean).join("; ");
      errors.update(Object.values(state.errors));
    },
  };
}

const part = (amount, what) => (amount ? [bytes(amount[0]), `${what} of ${bytes(amount[1])}`] : ["–", what]);

class Tiles {
  constructor(most) {
    this.tiles = Array.from({ length: most }, () => { const value = h("b"); const words = h("span"); return { value, words, element: h("div.card.tile", null, value, words) }; });
    this.element = h("div.tiles", null, ...this.tiles.map((tile) => tile.element));
  }

  /** Of each tile: number, words, and a class for the words; null for none. */
  update(values) {
    this.tiles.forEach(({ value, words, element }, at) => {
      element.hidden = !values[at];
      if (!values[at]) return;
      const [number, text, mood = ""] = values[at];
      if (value.textContent !== number) value.textContent = number;
      if (words.textContent !== text) words.textContent = words.title = text;
      words.className = mood;
    });
  }
}

/** Done and failed a second, of the last minutes or hours. */
class Throughput {
  constructor() {
    this.range = 300;
    this.history = live.history;
    this.buttons = [[60, "1 min"], [300, "5 min"], [3600, "1 h"]].map(([range, text]) => ({ range, element: h("button", { type: "button", "aria-pressed": String(range === this.range), onclick: () => this.choose(range) }, text) }));
    this.chart = new Chart({
      title: "Tasks a second", show: rate, aside: h("div.segments", { role: "group", "aria-label": "How far back" }, ...this.buttons.map((button) => button.element)),
      series: [{ label: "done", colour: BLUE, fill: true }, { label: "failed", colour: RED }, { label: "running", colour: GREY, dash: [4, 3] }],
    });
    this.element = this.chart.element;
  }

  async choose(range) {
    this.range = range;
    for (const button of this.buttons) button.element.setAttribute("aria-pressed", String(button.range === range));
    this.history = range > 300 ? await ask(`/history?seconds=${range}`).catch(() => live.history) : live.history;
    this.update(live);
  }

  update(state) {
    if (this.range <= 300) this.history = state.history;
    else this.follow(state.history);
    const since = state.at - this.range;
    this.chart.update(recent(this.history, since, ["done/s", "failed/s", "running"].map((name) => this.history[name] ?? [])), since);
  }

  /** What has come since the server was asked for the hour. */
  follow(history) {
    const last = this.history.at.at(-1) ?? 0;
    const first = history.at.findIndex((at) => at > last + 1e-3);
    if (first < 0 || this.history === history) return;
    const more = Object.fromEntries(Object.entries(history).map(([name, column]) => [name, column.slice(first)]));
    const kept = this.history.at.length;
    for (const name of new Set([...Object.keys(this.history), ...Object.keys(more)])) {
      (this.history[name] ??= new Array(kept).fill(null)).push(...(more[name] ?? new Array(more.at.length).fill(null)));
    }
  }
}

/** Times and columns from a time on, with one point before it, so that lines begin at the edge. */
function recent(history, since, columns) {
  const first = Math.max(0, history.at.findIndex((at) => at >= since) - 1);
  const length = history.at.length;
  return [history.at.slice(first), ...columns.map((column) => (column.length === length ? column : new Array(length).fill(null)).slice(first))];
}

/** The mean over all nodes. */
function means(history, what) {
  const columns = Object.entries(history).filter(([name]) => name.startsWith(`${what} `)).map(([, column]) => column);
  return history.at.map((_, at) => {
    const known = columns.map((column) => column[at]).filter((value) => value !== null && value !== undefined);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  });
}

// -------------------------------------------------------------------------------------------------------- tabs

function tasks() {
  const charts = new Throughput();
  const functions = new Table({ title: "Tasks by function", source: "functions", columns: FUNCTION_COLUMNS, key: (row) => row.name, href: (row) => path("function", row.name), empty: NO_CALLS, sort: "-total", every: 1000 });
  const pools = new Table({ title: "Pools and shapes of workers", source: "pools", columns: POOL_COLUMNS, key: (row) => row.key, empty: NO_CALLS, sort: "-pending" });
  const link = h("a", { href: "/timeline", download: "timeline.json" }, "Save the timeline for Perfetto");
  functions.element.querySelector(".grow").before(link);
  return { elements: [charts.element, functions.element, pools.element], update: (state) => charts.update(state) };
}

function workers() {
  const stream = new Stream();
  const table = new Table({ title: "Workers", source: "workers", columns: WORKER_COLUMNS, key: (row) => row.worker, href: (row) => path("worker", ...split(row.worker)), empty: ["No workers", "They are started when there is something to run."], sort: "worker" });
  return { elements: [stream.element, table.element], update: (state) => stream.update(state) };
}

function actors() {
  const columns = [
    { key: "class", title: "Class", full: (row) => row.class },
    { key: "name", title: "Name", show: (row) => row.name || h("span.dim", null, "–") },
    { key: "state", title: "State", show: (row) => badge(row.state) },
    { key: "runs", title: "Runs", show: (row) => func(row.runs) },
    { key: "waiting", title: "Waiting", ...N, show: (row) => count(row.waiting), hint: "calls that have not ended" },
    { key: "rate", title: "Done / s", ...N, show: (row) => rate(row.rate) },
    { key: "done", title: "Done", ...N, show: (row) => count(row.done) },
    { key: "memory", title: "Memory", ...N, show: (row) => bytes(row.memory) },
    { key: "restarts", title: "Restarts", ...N },
    { key: "holds", title: "Holds", show: (row) => row.holds || "–" },
    { key: "worker", title: "Worker", show: (row) => worker(row.worker) || node(row.node) },
    { key: "actor", title: "Id", show: (row) => h("span.mono", null, row.actor.slice(-12)), full: (row) => row.actor },
    { key: "reason", title: "Why it ended", full: (row) => row.reason },
  ];
  const table = new Table({ title: "Actors", source: "actors", columns, key: (row) => row.actor, href: (row) => (row.worker ? path("worker", ...split(row.worker)) : null), empty: ["No actors", "An actor is a class with @distpool.remote, once it is created by .remote()."], sort: "class", every: 5000 });
  return { elements: [table.element] };
}

function memory() {
  const holders = new Table({
    title: "Object memory by process", source: "holders", key: (row) => row.key, sort: "-bytes", every: 5000, note: "what several hold counts for each of them",
    empty: ["No objects", "Arrays, frames and other big values appear here when they are put, passed on or returned."], href: (row) => (row.worker ? path("worker", ...split(row.worker)) : null),
    columns: [
      { key: "process", title: "Process", show: (row) => (row.worker ? worker(row.worker) : row.process) }, { key: "node", title: "Node", show: (row) => node(row.node) },
      { key: "bytes", title: "Holds", ...N, show: (row) => bytes(row.bytes) }, { key: "objects", title: "Objects", ...N, show: (row) => count(row.objects) },
      { key: "disk", title: "Of it on disk", ...N, show: (row) => bytes(row.disk) }, { key: "pid", title: "Process id", ...N, show: (row) => row.pid ?? "–" },
    ],
  });
  const objects = new Table({
    title: "The biggest objects", source: "objects", key: (row) => row.key, sort: "-bytes", every: 5000, empty: ["No objects", "What is smaller than 256 KiB travels in messages, and is not here."],
    columns: [
      { key: "bytes", title: "Size", ...N, show: (row) => bytes(row.bytes) }, { key: "made", title: "Made by", show: (row) => h("span.mono", null, row.made), full: (row) => row.made },
      { key: "where", title: "Where", show: (row) => badge(row.where) }, { key: "node", title: "Node", show: (row) => node(row.node) },
      { key: "held", title: "Held by", full: (row) => row.held }, { key: "state", title: "State" },
    ],
  });
  const nodes = new Table({ title: "Object stores", columns: [NODE_COLUMNS[0], NODE_COLUMNS[6], NODE_COLUMNS[5]], key: (row) => row.name, href: (row) => path("node", row.name), empty: ["No node answers", ""], sort: "name", filter: false });
  return { elements: [nodes.element, holders.element, objects.element], update: (state) => nodes.update(Object.values(state.nodes)) };
}

function errors() {
  const table = new Table({ title: "Errors", source: "errors", columns: ERROR_COLUMNS, key: (row) => row.number, href: (row) => path("error", row.number), empty: NO_ERRORS, sort: "-at", note: "the latest 1,000" });
  return { elements: [table.element] };
}

function logs() {
  const columns = [
    { key: "what", title: "Of", show: (row) => h("a", { href: path("log", row.node, row.worker) }, row.what) }, { key: "node", title: "Node", show: (row) => node(row.node) },
    { key: "size", title: "Size", ...N, show: (row) => bytes(row.size) }, { key: "pid", title: "Process", ...N }, { key: "ended", title: "State", show: (row) => badge(row.ended ? "has ended" : "live") },
  ];
  const table = new Table({ title: "Logs", source: "logs", columns, key: (row) => row.log, href: (row) => path("log", row.node, row.worker), empty: ["No logs", "Nodes that `distpool start` has started keep what workers print. A program's own workers print where the program does."], sort: "node" });
  return { elements: [table.element] };
}

// ------------------------------------------------------------------------------------------------------ one thing

function functionView(name) {
  const tiles = new Tiles(8);
  const rows = new Table({ title: "Where it runs now", source: "workers", columns: WORKER_COLUMNS.slice(0, 8), key: (row) => row.worker, href: (row) => path("worker", ...split(row.worker)), empty: ["It runs nowhere at this moment", "Workers that run it are listed here."], sort: "worker" });
  rows.input.value = rows.words = name;
  const failed = new Table({ title: "Errors in it", source: "errors", columns: ERROR_COLUMNS, key: (row) => row.number, href: (row) => path("error", row.number), empty: NO_ERRORS, sort: "-at" });
  failed.input.value = failed.words = name;
  return {
    title: name,
    elements: [h("h1", null, func(name), h("span.dim", null, "  a function")), tiles.element, rows.element, failed.element],
    async update(state) {
      const row = state.functions[name] ?? (await ask(`/table/functions?limit=500&filter=${encodeURIComponent(name)}`).catch(() => ({ rows: [] }))).rows.find((each) => each.name === name);
      if (!row) return;
      tiles.update([
        [rate(row.rate), "done a second"], [count(row.running), "running"], [count(row.queued + row.sent + row.waiting), "queued"], [count(row.done), "done"],
        [count(row.failed), "failed", row.failed ? "bad" : ""], [seconds(row.mean), "on average"], [seconds(row.p50), "median"], [seconds(row.p95), "95 of 100 below"],
      ]);
    },
  };
}

function nodeView(name) {
  const chart = new Chart({ title: "CPU and memory", series: [{ label: "CPU", colour: BLUE, fill: true }, { label: "memory", colour: GREEN }, { label: "object store", colour: AMBER }], show: percent, whole: true });
  const facts = h("dl");
  const table = new Table({ title: "Workers", source: "workers", columns: WORKER_COLUMNS, key: (row) => row.worker, href: (row) => path("worker", ...split(row.worker)), empty: ["No workers here", "They are started when there is something to run."], sort: "worker" });
  table.input.value = table.words = `${name}/`;
  return {
    title: name,
    elements: [h("h1", null, name, h("span.dim", null, "  a node")), h("div.row", null, h("section.card", null, h("div.head", null, h("h2", null, "What it has"), h("span.grow"), h("a", { href: path("log", name, 0) }, "Log of its agent")), h("div.body", null, facts)), chart.element), table.element],
    update(state) {
      const row = state.nodes[name];
      const since = state.at - 300;
      chart.update(recent(state.history, since, [`cpu ${name}`, `memory ${name}`, `store ${name}`].map((key) => state.history[key] ?? [])), since);
      if (!row) return;
      const lines = [["State", badge(row.state)], ["Machine", row.host], ["Address", row.address], ["CPU", busy(row.cpu)], ["Memory", sized(row.memory)], ["Object store", sized(row.store)], ["Workers", `${count(row.workers)}, ${count(row.wanted)} more wanted`], ["Load", rate(row.load)]];
      const amount = (what, value) => (what.endsWith("memory") ? bytes(value) : tidy(value));
      for (const gpu of row.gpus) lines.push([`GPU ${gpu.name}`, h("span", null, gpu.model, h("br"), gpu.busy === null ? h("span.dim", null, "how busy it is, is not known") : busy(gpu.busy), h("br"), sized(gpu.memory))]);
      for (const [what, [now, all]] of Object.entries(row.used)) lines.push([what, `${amount(what, now)} of ${amount(what, all)} in use`]);
      put(facts, ...lines.flatMap(([what, value]) => [h("dt", null, what), h("dd", null, value)]));
    },
  };
}

function workerView(nodeName, number) {
  const name = `${nodeName}/${number}`;
  const stream = new Stream({ only: name, title: "What it ran" });
  const facts = h("dl");
  const stack = h("pre", null, "");
  const look = async () => { stack.textContent = await ask(`/stack?${new URLSearchParams({ node: nodeName, worker: number })}`).then((answer) => answer.lines.join("\n") || "It is idle.", (error) => error.message); };
  const failed = new Table({ title: "Errors on it", source: "errors", columns: ERROR_COLUMNS, key: (row) => row.number, href: (row) => path("error", row.number), empty: NO_ERRORS, sort: "-at" });
  failed.input.value = failed.words = name;
  const again = async () => {
    if (!facts.isConnected) return;
    const answer = await ask(`/table/workers?limit=500&filter=${encodeURIComponent(name)}`).catch(() => null);
    const row = answer?.rows.find((each) => each.worker === name);
    if (answer && !row) put(facts, h("dt", null, "State"), h("dd", null, badge("has ended")));
    if (row) {
      const lines = [["State", badge(row.state)], ["Runs", row.function ? h("span", null, func(row.function), `, for ${seconds(row.for)}`) : "nothing"], ["CPU", percent(row.cpu)], ["Memory", bytes(row.memory)], ["Calls", `${count(row.done)} done, ${count(row.failed)} failed`], ["Worked", seconds(row.work)], ["Holds", row.holds || "nothing of its node"], ["Works for", row.owner], ["Process", String(row.pid)], ["Node", node(row.node)]];
      put(facts, ...lines.flatMap(([what, value]) => [h("dt", null, what), h("dd", null, value)]));
    }
    setTimeout(again, 1500);
  };
  setTimeout(again, 0);
  look();
  return {
    title: name,
    elements: [h("h1", null, name, h("span.dim", null, "  a worker")), stream.element,
      h("div.row", null, h("section.card", null, h("div.head", null, h("h2", null, "Now"), h("span.grow"), h("a", { href: path("log", nodeName, number) }, "Its log")), h("div.body", null, facts)),
        h("section.card", null, h("div.head", null, h("h2", null, "Where it is in its code"), h("span.grow"), h("button", { type: "button", onclick: look }, "Look again")), stack)), failed.element],
    update: (state) => stream.update(state),
  };
}

function errorView(number) {
  const title = h("h1", null, `Error ${number}`);
  const facts = h("dl");
  const text = h("pre", null, "");
  ask(`/error/${number}`).then((row) => {
    put(title, row.headline);
    const lines = [["Function", func(row.function)], ["When", new Date(row.at * 1000).toLocaleString()], ["Kind", badge(row.kind)], ["Worker", worker(row.worker) || "–"], ["Called by", row.owner], ["Task", row.task ? h("span.mono", null, row.task) : "of a pool"], ["Log", row.worker ? h("a", { href: path("log", ...split(row.worker)) }, "of that worker") : "–"]];
    put(facts, ...lines.flatMap(([what, value]) => [h("dt", null, what), h("dd", null, value)]));
    text.textContent = (row.cut ? "... what was before this was too long to be kept ...\n" : "") + row.text;
  }, (error) => { text.textContent = error.message; });
  return { title: `Error ${number}`, elements: [title, h("section.card", null, h("div.body", null, facts)), h("section.card", null, h("div.head", null, h("h2", null, "Traceback")), text)] };
}

function logView(nodeName, number) {
  const text = h("pre", null, "");
  const note = h("span.dim");
  let next = -1;
  const read = async () => {
    if (!text.isConnected) return;
    try {
      const part = await ask(`/log?${new URLSearchParams({ node: nodeName, worker: number, offset: next })}`);
      const below = text.scrollHeight - text.scrollTop - text.clientHeight < 30;
      if (part.offset > next && next >= 0) text.append("\n... what was here has been removed: the log was too long ...\n");
      if (part.text) text.append(part.text);
      while (text.textContent.length > 1e6 && text.firstChild !== text.lastChild) text.firstChild.remove();
      next = part.next;
      note.textContent = `${bytes(part.size)}${part.ended ? ", it has ended" : ""}`;
      if (below) text.scrollTop = text.scrollHeight;
      if (!part.ended || next < part.size) setTimeout(read, part.text ? 300 : 1500);
    } catch (error) {
      note.textContent = error.message;
    }
  };
  setTimeout(read, 0);
  const name = Number(number) ? `worker ${number}` : "the agent";
  return { title: `Log of ${name}`, elements: [h("h1", null, `Log of ${name} `, h("span.dim", null, "on "), node(nodeName)), h("section.card", null, h("div.head", null, h("h2", null, "What it has printed"), note, h("span.grow"), Number(number) ? worker(`${nodeName}/${number}`) : null), text)] };
}

function unknown() {
  return { title: "Nothing here", elements: [h("div.card.empty", null, h("b", null, "There is nothing at this address"), h("a", { href: "#/" }, "To the overview"))] };
}

export const views = { "": overview, tasks, workers, actors, memory, errors, logs, function: functionView, node: nodeView, worker: workerView, error: errorView, log: logView, unknown };
