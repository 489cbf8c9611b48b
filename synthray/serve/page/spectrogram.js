/** Spectrograms with a logarithmic frequency axis, in dB, and their drawing in the colours of the page. */

import { spectrumOf } from "./fft.js";
import { RATE_HZ } from "./wave.js";

export const LOWEST_HZ = 50;
export const HIGHEST_HZ = RATE_HZ / 2;
export const RANGE_DB = 70;  // from the louder sound's peak down
export const DIFFERENCE_DB = 24;
const SIZE = 1024;
const COLUMNS = 240;
const ROWS = 128;
const SILENCE_DB = -120;
const spectrum = spectrumOf(SIZE);
const rowBins = Float64Array.from({ length: ROWS + 1 }, (_, row) => {
  return (LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** (row / ROWS) * SIZE) / RATE_HZ;
});

/** Return levels in dB, ROWS from low to high for each of COLUMNS. */
export function analyse(samples) {
  const levels = new Float32Array(ROWS * COLUMNS);
  for (let column = 0; column < COLUMNS; column += 1) {
    const centre = ((column + 0.5) * samples.length) / COLUMNS;
    const magnitudes = spectrum(samples, Math.round(centre - SIZE / 2));
    for (let row = 0; row < ROWS; row += 1) {
      levels[column * ROWS + row] = Math.max(SILENCE_DB, 20 * Math.log10(between(magnitudes, rowBins[row], rowBins[row + 1]) + 1e-9));
    }
  }
  return levels;
}

/** Return the largest magnitude between two bins, which need not be whole; narrow rows interpolate. */
function between(magnitudes, from, to) {
  if (to - from < 1) {
    const centre = (from + to) / 2;
    const low = Math.floor(centre);
    return magnitudes[low] + (magnitudes[low + 1] - magnitudes[low]) * (centre - low);
  }
  let largest = 0;
  for (let bin = Math.round(from); bin < to && bin < magnitudes.length; bin += 1) largest = Math.max(largest, magnitudes[bin]);
  return largest;
}

/** Return the largest level of several analyses. */
export function loudest(analyses) {
  return Math.max(...analyses.map((levels) => levels.reduce((largest, level) => Math.max(largest, level), SILENCE_DB)));
}

/** Draw levels: `top` dB has the strongest colour, `top - RANGE_DB` the background's. */
export function drawLevels(canvas, levels, top) {
  const colors = readColors(canvas, ["--spectrum-0", "--spectrum-1", "--spectrum-2", "--spectrum-3"]);
  draw(canvas, (i) => mix(colors, (levels[i] - top + RANGE_DB) / RANGE_DB));
}

/** Draw where the match is louder (the match's colour) or quieter (the original's). Levels below the scale are equal. */
export function drawDifference(canvas, original, match, top) {
  const colors = readColors(canvas, ["--original", "--spectrum-0", "--match"]);
  const floor = top - RANGE_DB;
  draw(canvas, (i) => {
    const difference = Math.max(match[i], floor) - Math.max(original[i], floor);
    return mix(colors, 0.5 + difference / (2 * DIFFERENCE_DB));
  });
}

/** Leave a drawing empty. */
export function clear(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

function draw(canvas, colorAt) {
  if (canvas.width !== COLUMNS) Object.assign(canvas, { width: COLUMNS, height: ROWS });
  const drawing = canvas.getContext("2d");
  const image = drawing.createImageData(COLUMNS, ROWS);
  for (let column = 0; column < COLUMNS; column += 1) {
    for (let row = 0; row < ROWS; row += 1) {
      const [red, green, blue] = colorAt(column * ROWS + row);
      image.data.set([red, green, blue, 255], 4 * ((ROWS - 1 - row) * COLUMNS + column));
    }
  }
  drawing.putImageData(image, 0, 0);
}

function readColors(canvas, names) {
  const style = getComputedStyle(canvas);
  return names.map((name) => {
    const hex = style.getPropertyValue(name).trim().slice(1);
    return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
  });
}

/** Return the colour at a position in [0, 1] of equally spaced colours. */
function mix(colors, position) {
  const place = Math.min(1, Math.max(0, position)) * (colors.length - 1);
  const index = Math.min(Math.floor(place), colors.length - 2);
  return colors[index].map((low, i) => low + (colors[index + 1][i] - low) * (place - index));
}
