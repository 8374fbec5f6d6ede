// How long the page's own code takes for a frame, in milliseconds, drawing and all: 1,000 workers, 48 of them shown, 50 functions,
// 20,000 bars, and 400 more with each frame.
(async () => {
  const { take, state } = await import("/page/live.js");
  const at = Date.now() / 1000;
  const lanes = Object.fromEntries(Array.from({ length: 48 }, (_, n) => [`node/${n}`, { pid: n, runs: "f1", since: at - 1 }]));
  const functions = (step) => Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`f${n}`, {
    name: `f${n}`, waiting: step, queued: n, sent: 1, running: 1, guessed: false, done: step * n, failed: 0, rate: n,
    failedRate: 0, mean: 0.1, p50: 0.1, p95: 0.2, total: n,
  }]));
  const bars = (step) => Array.from({ length: step ? 400 : 20000 }, (_, n) => {
    const start = at + step - (n % 60) / 2;
    return [`node/${n % 48}`, `f${n % 50}`, start, start + 0.1, 0.1, 5, 0];
  });
  const frame = (step) => ({
    look: 1e6 + step, at: at + step, whole: step === 0, facts: { ...state.facts, workers: 1000 },
    nodes: { set: {}, gone: [] }, functions: { set: functions(step), gone: [] },
    lanes: { set: step ? {} : lanes, gone: [] }, errors: { set: {}, gone: [] },
    history: { at: [at + step], "done/s": [1667] }, stream: bars(step),
  });
  take(frame(0));
  await new Promise(requestAnimationFrame);
  const took = [];
  for (let step = 1; step <= 10; step += 1) {
    const next = frame(step);
    const began = performance.now();
    take(next);
    took.push(performance.now() - began);
    await new Promise(requestAnimationFrame);
  }
  return took.sort((one, other) => one - other)[5];
})()
