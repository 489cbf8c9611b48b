/** Loudness of a sound in LUFS (ITU-R BS.1770-4, one channel) and gains that make sounds equally loud. */

import { RATE_HZ } from "./wave.js";

const BLOCK_S = 0.4;
const HOP_S = 0.1;
const ABSOLUTE_GATE_LUFS = -70;
const RELATIVE_GATE_LU = -10;
const TARGET_LUFS = -18;

/** Return the gated loudness; -Infinity for silence. */
export function loudness(samples) {
  const weighted = biquad(biquad(samples, highShelf(1682, 4, 0.707)), highPass(38, 0.5));
  const size = Math.round(BLOCK_S * RATE_HZ);
  const hop = Math.round(HOP_S * RATE_HZ);
  const powers = [];
  for (let start = 0; start + size <= weighted.length; start += hop) powers.push(meanSquare(weighted, start, size));
  const loud = powers.filter((power) => toLufs(power) > ABSOLUTE_GATE_LUFS);
  const gate = toLufs(mean(loud)) + RELATIVE_GATE_LU;
  return toLufs(mean(loud.filter((power) => toLufs(power) > gate)));
}

/** Return a gain in dB for each sound: all become equally loud, and none clips. Silent sounds get 0. */
export function equalGains(sounds) {
  const levels = sounds.map(loudness);
  const headrooms = sounds.map((samples, i) => levels[i] - 20 * Math.log10(peak(samples)));
  const target = Math.min(TARGET_LUFS, ...headrooms.filter(Number.isFinite));
  return levels.map((level) => (Number.isFinite(level) ? target - level : 0));
}

/** Return the largest absolute sample. */
export function peak(samples) {
  return samples.reduce((largest, sample) => Math.max(largest, Math.abs(sample)), 0);
}

const toLufs = (power) => -0.691 + 10 * Math.log10(power);
const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);

function meanSquare(samples, start, size) {
  let sum = 0;
  for (let i = start; i < start + size; i += 1) sum += samples[i] * samples[i];
  return sum / size;
}

// Coefficients: R. Bristow-Johnson, Audio EQ Cookbook.
function highShelf(hz, gainDb, q) {
  const a = 10 ** (gainDb / 40);
  const w = (2 * Math.PI * hz) / RATE_HZ;
  const [cos, k] = [Math.cos(w), (Math.sin(w) / q) * Math.sqrt(a)];
  return {
    b: [a * (a + 1 + (a - 1) * cos + k), -2 * a * (a - 1 + (a + 1) * cos), a * (a + 1 + (a - 1) * cos - k)],
    a: [a + 1 - (a - 1) * cos + k, 2 * (a - 1 - (a + 1) * cos), a + 1 - (a - 1) * cos - k],
  };
}

function highPass(hz, q) {
  const w = (2 * Math.PI * hz) / RATE_HZ;
  const [cos, alpha] = [Math.cos(w), Math.sin(w) / (2 * q)];
  return { b: [(1 + cos) / 2, -(1 + cos), (1 + cos) / 2], a: [1 + alpha, -2 * cos, 1 - alpha] };
}

function biquad(samples, { b, a }) {
  const output = new Float64Array(samples.length);
  let [x1, x2, y1, y2] = [0, 0, 0, 0];
  for (let i = 0; i < samples.length; i += 1) {
    const x = samples[i];
    const y = (b[0] * x + b[1] * x1 + b[2] * x2 - a[1] * y1 - a[2] * y2) / a[0];
    [x2, x1, y2, y1] = [x1, x, y1, y];
    output[i] = y;
  }
  return output;
}
