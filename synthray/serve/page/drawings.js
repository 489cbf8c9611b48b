/** Drawings of a group's settings: one cycle of an oscillator, a filter's response, an envelope, an LFO. */

import { groupOf, toPosition } from "./table.js";

export const WIDTH = 200;
export const HEIGHT = 48;
const POINTS = 200;
const CYCLES = 4;  // of an oscillator at the pitch of the note
const MARGIN = 4;
const DURATION_S = 2;
const [LOW_HZ, HIGH_HZ] = [50, 5512];
const DECIBELS = 40;  // height of a filter's response

/** Return an SVG path for a group, or "" if the group has no drawing. */
export function drawGroup(key, table, values) {
  const ranges = Object.fromEntries(table.filter(({ name }) => groupOf(name) === key).map((p) => [p.name.slice(key.length + 1), p]));
  const get = (name, fallback) => values[`${key}_${name}`] ?? fallback;
  const share = (name) => (ranges[name] ? Math.abs(get(name)) / Math.max(ranges[name].maximum, 1e-9) : 1);
  if (key.endsWith("_envelope")) return envelope(get, ranges.amount, values.note_hold ?? 1000);
  if (key.endsWith("_lfo")) return curve((t) => share("amount") * wave(get("waveform", "sine"), t * DURATION_S * get("frequency", 1)));
  if (key.startsWith("oscillator")) return oscillator(get, ranges.level);
  if (key === "filter") return filter(get);
  if (key === "noise") return noise(get, ranges.level);
  return "";
}

/** Return a path of `height(t)` in [-1, 1] for t in [0, 1]. */
function curve(height) {
  const points = Array.from({ length: POINTS + 1 }, (_, i) => {
    const y = HEIGHT / 2 - Math.max(-1, Math.min(1, height(i / POINTS))) * (HEIGHT / 2 - MARGIN);
    return `${((i * WIDTH) / POINTS).toFixed(1)} ${y.toFixed(1)}`;
  });
  return `M${points.join("L")}`;
}

function wave(shape, cycles, high = 0.5) {
  const phase = cycles - Math.floor(cycles);
  if (shape === "square") return phase < high ? 1 : -1;
  if (shape === "saw") return 2 * ((phase + 0.5) % 1) - 1;
  if (shape === "triangle") return 1 - 4 * Math.abs(((phase + 0.25) % 1) - 0.5);
  return Math.sin(2 * Math.PI * phase);
}

function oscillator(get, level) {
  const cycles = CYCLES * 2 ** (get("pitch", 0) / 12);
  const size = level ? 0.25 + 0.75 * toPosition(level, get("level")) : 1;
  return curve((t) => size * wave(get("waveform", "sine"), t * cycles, get("pulse_width", 50) / 100));
}

/** The instrument's envelope: a linear attack, cubic decay and release. */
function envelope(get, amount, holdMs) {
  const [attack, decay, release] = ["attack", "decay", "release"].map((stage) => get(stage, 5));
  const sustain = get("sustain", 0) / 100;
  const at = (t) => {
    const ms = t * DURATION_S * 1000;
    const left = 1 - limit((ms - attack) / decay);
    const fade = 1 - limit((ms - holdMs) / release);
    return Math.min(1, ms / attack) * (sustain + (1 - sustain) * left ** 3) * fade ** 3;
  };
  if (!amount) return curve((t) => 2 * at(t) - 1);
  const size = get("amount") / amount.maximum;
  return curve((t) => size * at(t));
}

const limit = (value) => Math.min(1, Math.max(0, value));
const hertz = (t) => LOW_HZ * (HIGH_HZ / LOW_HZ) ** t;
const level = (magnitude) => 0.4 + (2 * 20 * Math.log10(magnitude + 1e-6)) / DECIBELS;

/** A two-pole filter's response over frequency. */
function filter(get) {
  const q = get("resonance", 0.7);
  return curve((t) => {
    const f = hertz(t) / get("cutoff", 1000);
    const size = Math.hypot(1 - f * f, f / q);
    const tops = { lowpass: 1, highpass: f * f, bandpass: f / q, notch: Math.abs(1 - f * f) };
    return level((tops[get("type", "lowpass")] ?? 1) / size);
  });
}

/** White noise that falls by 6 dB an octave above a corner. */
function noise(get, range) {
  const size = range ? toPosition(range, get("level")) : 1;
  return curve((t) => (size < 0.005 ? -1 : level(10 ** ((size - 1) * 1.2) / Math.hypot(1, hertz(t) / get("color", 1000)))));
}
