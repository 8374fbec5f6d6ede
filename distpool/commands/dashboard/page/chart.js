// Lines over time, by uPlot (vendor/uplot), in the page's colours.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { h, put } from "./dom.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  /** series: [{label, colour, fill, dash}]; show: how a value is written; whole: whether the scale ends at 1. */
  constructor({ title, series, show, whole, height = 196, aside }) {
    Object.assign(this, { series, show, whole, height });
    this.place = h("div.chart");
    this.legend = h("div.legend");
    this.element = h("section.card", { "aria-label": title }, h("div.head", null, h("h2", null, title), h("span.grow"), aside), this.place, this.legend);
    this.data = [[], ...series.map(() => [])];
    this.watching = new ResizeObserver(() => this.resize());
    this.watching.observe(this.place);
    this.values = series.map((each) => {
      const value = h("span", null, "");
      const mark = h("span.swatch");
      mark.style.background = each.colour;
      this.legend.append(h("span", null, mark, each.label, " ", value));
      return value;
    });
  }

  make() {
    this.plot?.destroy();
    const width = this.place.clientWidth - 12;
    if (width < 40) return;
    const axis = { stroke: css("--dim"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    this.plot = new uPlot({
      width, height: this.height, padding: [8, 8, 0, 0],
      cursor: { y: false, points: { size: 6 } }, legend: { show: false },
      scales: { x: { time: true, auto: false }, y: { auto: false } },
      axes: [
        { ...axis, space: 70, size: 30, values: [[1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", null, null, null, null, null, null, 1], [3600, "{HH}:{mm}", null, null, null, null, null, null, 1]].reverse() },
        { ...axis, size: 62, space: 34, values: (_, splits) => splits.map((value) => this.show(value)) },
      ],
      series: [{}, ...this.series.map((each) => ({ label: each.label, stroke: each.colour, width: 1.6, dash: each.dash, fill: each.fill ? each.colour + "26" : undefined, points: { show: false }, spanGaps: false }))],
      hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx)] },
    }, this.data, put(this.place));
  }

  resize() {
    const width = this.place.clientWidth - 12;
    if (!this.plot) this.make();
    else if (Math.abs(width - this.plot.width) > 1) this.plot.setSize({ width, height: this.height });
  }

  /** columns: times, then one for each series. since: where the axis begins, if there is that much. */
  update(columns, since) {
    this.data = columns;
    if (!this.plot) this.make();
    if (!this.plot) return;
    this.plot.setData(columns, false);
    const until = columns[0].at(-1) ?? Date.now() / 1000;
    const min = Math.min(until - 30, Math.max(since, columns[0][0] ?? since)); // what has no past yet begins where it begins
    const max = this.whole ? 1 : Math.max(1, ...columns.slice(1).flatMap((column) => column.filter((value, at) => value !== null && columns[0][at] >= min))) * 1.08;
    this.plot.batch(() => { this.plot.setScale("x", { min, max: until }); this.plot.setScale("y", { min: 0, max }); });
    this.tell(this.plot.cursor.idx);
  }

  tell(place) {
    const at = place ?? this.data[0].length - 1;
    this.values.forEach((value, index) => { value.textContent = this.data[0].length ? this.show(this.data[index + 1][at] ?? null) : ""; });
  }
}
