/** The two waveforms, drawn above each other on one scale. */

import { peak } from "./loudness.js";

/** Draw the samples of the original and the match (either may be null) into a canvas of the size that it has. */
export function drawWaveforms(canvas, sounds) {
  const style = getComputedStyle(canvas);
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
  if (!width || !height) return;
  Object.assign(canvas, { width, height });
  const drawing = canvas.getContext("2d");
  const scale = Math.max(...sounds.map((samples) => (samples ? peak(samples) : 0))) || 1;
  const colors = [style.getPropertyValue("--original"), style.getPropertyValue("--match")];
  sounds.forEach((samples, i) => {
    const lane = { top: (i * height) / 2, height: height / 2, width };
    drawing.fillStyle = samples ? colors[i] : style.getPropertyValue("--line");
    drawLane(drawing, samples, scale, lane);
  });
}

function drawLane(drawing, samples, scale, { top, height, width }) {
  const middle = top + height / 2;
  const reach = height * 0.44;
  if (!samples) {
    drawing.fillRect(0, middle, width, 1);
    return;
  }
  for (let x = 0; x < width; x += 1) {
    const [low, high] = extremes(samples, Math.floor((x * samples.length) / width), Math.ceil(((x + 1) * samples.length) / width));
    const y = middle - (high / scale) * reach;
    drawing.fillRect(x, y, 1, Math.max(1, ((high - low) / scale) * reach));
  }
}

function extremes(samples, start, end) {
  let [low, high] = [samples[start] ?? 0, samples[start] ?? 0];
  for (let i = start + 1; i < end && i < samples.length; i += 1) {
    if (samples[i] < low) low = samples[i];
    if (samples[i] > high) high = samples[i];
  }
  return [low, high];
}
