// What the server tells, frame by frame, put together; and who wants to hear of it.
//
//   EventSource /live ──► take(frame) ──► state: facts, nodes, functions, lanes, errors, history, stream ──► listeners
//
// A frame holds what has changed since the one before. Lists of the past are bounded here as they are there.

const PAST_S = 300;
const BARS_MAX = 20000;
const SILENT_MS = 35000;

export const state = { look: 0, at: 0, arrived: 0, facts: {}, nodes: {}, functions: {}, lanes: {}, errors: {}, history: { at: [] }, stream: [] };
const listeners = new Set();
let source = null;
let heard = 0;
export let connection = "connecting"; // "live", "late", "lost"

/** Call this with each frame, until the function that this returns is called. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function begin() {
  source?.close();
  source = new EventSource("/live");
  source.onopen = () => { heard = Date.now(); };
  source.onmessage = (event) => { heard = Date.now(); take(JSON.parse(event.data)); };
  source.onerror = () => {
    set("lost");
    if (source.readyState === EventSource.CLOSED) setTimeout(begin, 3000);
  };
}

setInterval(() => {
  if (connection === "live" && Date.now() - state.arrived > 1000 * Math.max(5, 3 * (state.facts.interval || 1))) set("late");
  if (heard && Date.now() - heard > SILENT_MS) { heard = Date.now(); begin(); }
}, 1000);

function set(now) {
  connection = now;
  for (const listener of listeners) listener(state);
}

export function take(frame) {
  if (frame.whole) Object.assign(state, { nodes: {}, functions: {}, lanes: {}, errors: {}, history: { at: [] }, stream: [] });
  state.look = frame.look;
  state.at = frame.at;
  state.arrived = Date.now();
  state.facts = frame.facts;
  for (const table of ["nodes", "functions", "lanes", "errors"]) {
    for (const key of frame[table].gone) delete state[table][key];
    Object.assign(state[table], frame[table].set);
  }
  extend(state.history, frame.history);
  state.stream.push(...frame.stream);
  const since = frame.at - PAST_S;
  if (state.stream.length > BARS_MAX || state.look % 20 === 0) state.stream = state.stream.filter((bar) => bar[3] > since).slice(-BARS_MAX);
  set(frame.facts.trouble ? "late" : "live");
}

/** Add the new points to the columns; a column that is not told gets gaps. */
export function extend(history, more) {
  const had = history.at.length;
  const added = more.at.length;
  for (const name of new Set([...Object.keys(history), ...Object.keys(more)])) {
    const column = (history[name] ??= new Array(had).fill(null));
    column.push(...(more[name] ?? new Array(added).fill(null)));
  }
  const since = (history.at.at(-1) ?? 0) - PAST_S;
  const first = history.at.findIndex((at) => at >= since);
  if (first > 60) for (const column of Object.values(history)) column.splice(0, first);
}

/** Ask the server once. Rejects with its one line, if it refuses. */
export async function ask(address) {
  const answer = await fetch(address, { headers: { accept: "application/json" } });
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let said = text;
  try { said = JSON.parse(text).error ?? text; } catch { /* it was a line already */ }
  throw new Error(said.trim() || `the server answers ${answer.status}`);
}
