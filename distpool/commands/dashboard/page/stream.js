// The task stream: a line for each worker, a bar for each call, or for a stretch of short ones; as dense as it was busy.

import { clock, colour, count, h, path as address, percent, put, seconds, split, swatch } from "./dom.js";

const LINE = 22;
const TOP = 22;
const LEFT = 148;
const RANGES = [[15, "15 s"], [60, "1 min"], [300, "5 min"]];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Stream {
  /** only: a worker's name, if the stream is of one. */
  constructor({ only, title = "Task stream" } = {}) {
    this.only = only;
    this.range = 60;
    this.canvas = h("canvas", { role: "img", "aria-label": "What each worker ran, over time; the tables have the same as text", onmousemove: (event) => this.point(event), onmouseleave: () => this.hide(), onclick: (event) => this.open(event) });
    this.legend = h("div.legend");
    this.tip = h("div.tip", { hidden: true });
    this.note = h("span.dim");
    this.nothing = h("div.empty", { hidden: true }, h("b", null, "Nothing has run yet"), "A bar appears here with the first call that ends.");
    this.ranges = RANGES.map(([range, text]) => h("button", { type: "button", "aria-pressed": String(range === this.range), onclick: () => this.choose(range) }, text));
    this.holder = h("div.stream", null, this.canvas, this.nothing);
    this.element = h("section.card", { "aria-label": title }, h("div.head", null, h("h2", null, title), this.note, h("span.grow"), h("div.segments", { role: "group", "aria-label": "How far back" }, ...this.ranges)), this.holder, this.legend, this.tip);
    new ResizeObserver(() => this.state && this.update(this.state)).observe(this.holder);
  }

  choose(range) {
    this.range = range;
    this.ranges.forEach((button, at) => button.setAttribute("aria-pressed", String(RANGES[at][0] === range)));
    if (this.state) this.update(this.state);
  }

  update(state) {
    this.state = state;
    const since = state.at - this.range;
    const bars = state.stream.filter((bar) => bar[3] > since && (!this.only || bar[0] === this.only));
    const lanes = this.only ? [this.only] : Object.keys(state.lanes).sort(natural);
    const hidden = this.only ? 0 : (state.facts.workers ?? 0) - lanes.length;
    this.note.textContent = hidden > 0 ? `the ${count(lanes.length)} workers that have worked most; ${count(hidden)} more are in the table of workers` : "";
    this.nothing.hidden = lanes.length > 0;
    this.canvas.hidden = lanes.length === 0;
    this.lanes = lanes;
    this.draw(state, bars, lanes, since);
    this.showLegend(bars, state);
  }

  draw(state, bars, lanes, since) {
    const width = this.holder.clientWidth;
    const height = TOP + lanes.length * LINE + 6;
    const scale = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.height = `${height}px`;
    }
    const draw = this.canvas.getContext("2d");
    draw.setTransform(scale, 0, 0, scale, 0, 0);
    draw.clearRect(0, 0, width, height);
    const span = width - LEFT - 12;
    const x = (at) => LEFT + Math.max(0, Math.min(1, (at - since) / this.range)) * span;
    draw.font = "11px system-ui, sans-serif";
    draw.textBaseline = "middle";
    draw.strokeStyle = css("--line");
    draw.fillStyle = css("--dim");
    const step = [1, 2, 5, 10, 15, 30, 60].find((size) => (size / this.range) * span > 80) ?? 60;
    draw.beginPath();
    draw.textAlign = "center";
    for (let at = Math.ceil(since / step) * step; at <= state.at; at += step) {
      draw.moveTo(Math.round(x(at)) + 0.5, TOP - 4);
      draw.lineTo(Math.round(x(at)) + 0.5, height);
      if (x(at) < width - 34 && x(at) > LEFT + 20) draw.fillText(clock(at), x(at), 10);
    }
    draw.stroke();
    draw.textAlign = "right";
    const place = new Map(lanes.map((name, at) => [name, TOP + at * LINE]));
    for (const [name, y] of place) {
      draw.fillStyle = css("--dim");
      draw.fillText(shortened(draw, name, LEFT - 16), LEFT - 8, y + LINE / 2);
      draw.fillStyle = css("--hover");
      draw.fillRect(LEFT, y + 2, span, LINE - 4);
    }
    this.hits = [];
    // All bars of a colour and density are filled at once, and what lies within a pixel of another of them is left out.
    const paths = new Map();
    const failed = new Path2D();
    for (const bar of bars) {
      const y = place.get(bar[0]);
      if (y === undefined) continue;
      const left = x(bar[2]);
      const right = Math.max(left + 1, x(bar[3]));
      const share = bar[5] === 1 ? 1 : bar[4] / Math.max(1e-6, bar[3] - bar[2]);
      const density = Math.max(1, Math.min(5, Math.ceil(share * 5)));
      const key = `${density} ${bar[1]}`;
      let drawn = paths.get(key);
      if (!drawn) paths.set(key, (drawn = { path: new Path2D(), density, name: bar[1], until: new Map() }));
      if (right > (drawn.until.get(y) ?? -1)) {
        drawn.path.rect(left, y + 3, right - left, LINE - 6);
        drawn.until.set(y, Math.floor(right));
      }
      if (bar[6]) failed.rect(left, y + LINE - 6, right - left, 3);
      this.hits.push([left, right - left, y, bar]);
    }
    for (const { path, density, name } of paths.values()) {
      draw.globalAlpha = density / 5;
      draw.fillStyle = colour(name);
      draw.fill(path);
    }
    draw.globalAlpha = 1;
    draw.fillStyle = css("--bad");
    draw.fill(failed);
    draw.globalAlpha = 0.45;
    for (const [name, lane] of Object.entries(state.lanes)) {
      const y = place.get(name);
      if (!lane.runs || y === undefined) continue;
      const left = x(lane.since);
      draw.fillStyle = colour(lane.runs);
      draw.fillRect(left, y + 3, Math.max(2, x(state.at) - left), LINE - 6);
      this.hits.push([left, Math.max(2, x(state.at) - left), y, [name, lane.runs, lane.since, state.at, null, 0, 0]]);
    }
    draw.globalAlpha = 1;
  }

  showLegend(bars, state) {
    const spent = new Map();
    for (const bar of bars) spent.set(bar[1], (spent.get(bar[1]) ?? 0) + bar[4]);
    for (const lane of Object.values(state.lanes)) if (lane.runs && !this.only && !spent.has(lane.runs)) spent.set(lane.runs, 0);
    const names = [...spent].sort((one, other) => other[1] - one[1]).slice(0, 12).map(([name]) => name);
    if (this.told === names.join("\n")) return;
    this.told = names.join("\n");
    put(this.legend, ...names.map((name) => h("a.dim", { href: address("function", name) }, swatch(name), name)));
  }

  hit(event) {
    const box = this.canvas.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    let best = null;
    for (const [start, size, y, bar] of this.hits ?? []) if (top >= y && top < y + LINE && left >= start - 2 && left <= start + size + 2) best = bar;
    return best;
  }

  point(event) {
    const bar = this.hit(event);
    if (!bar) return this.hide();
    const [name, what, start, end, busy, calls, failed] = bar;
    put(this.tip,
      h("b", null, what), h("br"),
      calls === 0 ? `has run for ${seconds(end - start)}` : calls === 1 ? `one call, ${seconds(end - start)}` : `${count(calls)} calls in ${seconds(end - start)}, busy for ${percent(Math.min(1, busy / Math.max(1e-6, end - start)))} of it`,
      failed ? `, ${count(failed)} failed` : "", h("br"), `${name}, from ${clock(start)}`);
    this.tip.hidden = false;
    this.tip.style.left = `${Math.min(event.clientX + 14, innerWidth - this.tip.offsetWidth - 10)}px`;
    this.tip.style.top = `${Math.min(event.clientY + 16, innerHeight - this.tip.offsetHeight - 10)}px`;
    this.canvas.style.cursor = "pointer";
  }

  hide() {
    this.tip.hidden = true;
    this.canvas.style.cursor = "";
  }

  open(event) {
    const bar = this.hit(event);
    if (bar) location.hash = address("worker", ...split(bar[0]));
  }
}

function natural(one, other) {
  return one.localeCompare(other, undefined, { numeric: true });
}

function shortened(draw, text, width) {
  if (draw.measureText(text).width <= width) return text;
  let kept = text;
  while (kept.length > 4 && draw.measureText("…" + kept).width > width) kept = kept.slice(1);
  return "…" + kept;
}
