// Whether the task stream has more than its background in it.
(() => {
  const canvas = document.querySelector(".stream canvas");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = new Set();
  for (let at = 0; at < pixels.length; at += 4) seen.add(pixels.slice(at, at + 3).join());
  return seen.size > 3;
})()
