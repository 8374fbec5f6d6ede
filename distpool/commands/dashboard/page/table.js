// Tables that stay where they are: rows are kept by their keys and changed in place, and while somebody's pointer or
// focus is in the table, its order holds. Sorted by their heads, filtered by words, walked by the arrow keys.
//
//   new Table({columns, ...}).update(rows)           rows that are here: sorted and filtered here
//   new Table({columns, source: "workers", ...})     a table of the server's: it sorts, filters and cuts; asked again and again

import { ask } from "./live.js";
import { count, h, put } from "./dom.js";

const PAGE = 100;
const EVERY_MS = 2000;

export class Table {
  /**
   * columns: [{key, title, number, show(row), hint}]; href(row): where a row leads; empty: [what is missing, what to do].
   * sort: a column's key, with "-" before it for the largest first.
   */
  constructor({ title, columns, key, href, empty, sort, source, every, filter = true, query, note, limit }) {
    Object.assign(this, { columns, keyOf: key, href, empty, source, query, every: every ?? EVERY_MS, limit: limit ?? PAGE });
    this.descending = sort?.startsWith("-") ?? false;
    this.sort = sort?.replace(/^-/, "") ?? columns[0].key;
    this.words = "";
    this.offset = 0;
    this.rows = [];
    this.drawn = new Map();
    this.heads = columns.map((column) => h(`th${column.number ? ".number" : ""}`, { scope: "col", title: column.hint },
      h("button", { type: "button", onclick: () => this.sortBy(column) }, column.title)));
    this.body = h("tbody", { onkeydown: (event) => this.walk(event) });
    this.nothing = h("div.empty", { hidden: true });
    this.foot = h("div.foot", { hidden: true });
    this.input = h("input", { type: "search", placeholder: "Filter", "aria-label": `Filter: ${title}`, oninput: () => this.filterBy() });
    this.note = h("span.dim", null, note ?? "");
    this.element = h("section.card", { "aria-label": title },
      h("div.head", null, h("h2", null, title), this.note, h("span.grow"), filter ? this.input : null),
      h("div.scroll", null, h("table", null, h("thead", null, h("tr", null, ...this.heads)), this.body), this.nothing),
      this.foot);
    this.showOrder();
    if (source) this.keepAsking();
  }

  sortBy(column) {
    this.descending = this.sort === column.key ? !this.descending : Boolean(column.number);
    this.sort = column.key;
    this.offset = 0;
    this.showOrder();
    this.source ? this.fetch() : this.draw(true);
  }

  filterBy() {
    this.words = this.input.value;
    this.offset = 0;
    if (!this.source) return this.draw(true);
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.fetch(), 200);
  }

  showOrder() {
    this.columns.forEach((column, place) => {
      if (column.key === this.sort) this.heads[place].setAttribute("aria-sort", this.descending ? "descending" : "ascending");
      else this.heads[place].removeAttribute("aria-sort");
    });
  }

  // ----------------------------------------------------------------------------------------- rows

  /** Rows that are here. */
  update(rows) {
    this.rows = rows;
    this.total = rows.length;
    this.draw();
  }

  draw(reorder = false) {
    let rows = this.rows;
    if (!this.source) {
      const words = this.words.toLowerCase().split(/\s+/).filter(Boolean);
      if (words.length) rows = rows.filter((row) => { const text = Object.values(row).join(" ").toLowerCase(); return words.every((word) => text.includes(word)); });
      const sign = this.descending ? -1 : 1;
      rows = [...rows].sort((one, other) => sign * compare(one[this.sort], other[this.sort]));
    }
    const held = !reorder && (this.body.matches(":hover") || this.body.contains(document.activeElement));
    if (held) rows = holding(rows, [...this.drawn.keys()], this.keyOf);
    const keep = new Set();
    let place = 0;
    for (const row of rows) {
      const key = String(this.keyOf(row));
      keep.add(key);
      let known = this.drawn.get(key);
      if (!known) {
        known = { element: h("tr", null), text: null };
        this.drawn.set(key, known);
      }
      const text = JSON.stringify(row);
      if (known.text !== text) this.drawRow(known, row, text);
      if (this.body.children[place] !== known.element) this.body.insertBefore(known.element, this.body.children[place] ?? null);
      place += 1;
    }
    for (const [key, known] of this.drawn) if (!keep.has(key)) { known.element.remove(); this.drawn.delete(key); }
    this.drawn = new Map(rows.map((row) => [String(this.keyOf(row)), this.drawn.get(String(this.keyOf(row)))]));
    this.showNothing(rows.length);
  }

  drawRow(known, row, text) {
    known.text = text;
    const cells = this.columns.map((column) => h(`td${column.number ? ".number" : ""}`, { title: column.full?.(row) }, column.show ? column.show(row) : row[column.key] ?? ""));
    const href = this.href?.(row);
    known.element.className = href ? "link" : "";
    if (href) {
      known.element.tabIndex = 0;
      known.element.onclick = (event) => { if (!event.target.closest("a") && !String(getSelection())) location.hash = href; };
      known.element.onkeydown = (event) => { if (event.key === "Enter" && event.target === known.element) location.hash = href; };
    }
    // In place, so that what has the focus, or is selected, stays: cells that say the same are left alone.
    const had = [...known.element.children];
    if (had.length !== cells.length) return void put(known.element, ...cells);
    cells.forEach((cell, at) => { if (!cell.isEqualNode(had[at]) && !had[at].contains(document.activeElement)) had[at].replaceWith(cell); });
  }

  showNothing(shown) {
    this.nothing.hidden = shown > 0;
    if (shown) return;
    const [what, hint] = this.words ? ["Nothing has these words", "Clear the filter to see all."] : this.empty;
    put(this.nothing, h("b", null, what), hint);
  }

  walk(event) {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const row = event.target.closest("tr");
    const next = event.key === "ArrowDown" ? row?.nextElementSibling : row?.previousElementSibling;
    if (next) { next.focus(); event.preventDefault(); }
  }

  // --------------------------------------------------------------------------- of the server's

  async keepAsking() {
    await this.fetch();
    const ask = async () => {
      if (!this.element.isConnected) return;
      if (!document.hidden && !window.paused) await this.fetch();
      setTimeout(ask, this.every);
    };
    setTimeout(ask, this.every);
  }

  async fetch() {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const query = new URLSearchParams({ filter: this.words, sort: this.sort, descending: this.descending ? "1" : "", offset: this.offset, limit: this.limit });
    try {
      const answer = await ask(`/table/${this.source}?${query}`);
      if (turn !== this.turn) return;
      this.rows = answer.rows;
      this.total = answer.total;
      this.said = answer.said;
      this.offset = Math.min(this.offset, Math.max(0, this.total - 1));
      this.draw(true);
      this.showFoot(answer.said);
    } catch (error) {
      if (turn === this.turn) this.showFoot([error.message]);
    }
  }

  showFoot(said) {
    const pages = this.total > this.limit;
    this.foot.hidden = !pages && !said?.length;
    const step = (by) => () => { this.offset = Math.max(0, this.offset + by * this.limit); this.fetch(); };
    put(this.foot,
      pages ? h("button", { type: "button", disabled: this.offset === 0, onclick: step(-1) }, "Previous") : null,
      pages ? `${count(this.offset + 1)} to ${count(Math.min(this.total, this.offset + this.limit))} of ${count(this.total)}` : null,
      pages ? h("button", { type: "button", disabled: this.offset + this.limit >= this.total, onclick: step(1) }, "Next") : null,
      ...(said ?? []).map((line) => h("span", null, line)));
  }
}

function compare(one, other) {
  if (Array.isArray(one)) one = one[0];
  if (Array.isArray(other)) other = other[0];
  if (one === other) return 0;
  if (one === null || one === undefined) return -1;
  if (other === null || other === undefined) return 1;
  return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
}

/** The rows in the order in which they were, new ones behind. */
function holding(rows, order, keyOf) {
  const place = new Map(order.map((key, at) => [key, at]));
  return [...rows].sort((one, other) => (place.get(String(keyOf(one))) ?? Infinity) - (place.get(String(keyOf(other))) ?? Infinity) || 0);
}
