/** The instrument's table of parameters: curves, units and groups. Values come from the service, none are known here. */

const SHORT_UNITS = { semitones: "st", octaves: "oct", cents: "ct", degrees: "°" };

/** Return the position in [0, 1] of a range's value. */
export function toPosition({ minimum, maximum, curve }, value) {
  if (curve === "log") return Math.log(value / minimum) / Math.log(maximum / minimum);
  return (value - minimum) / (maximum - minimum);
}

/** Return a range's value at a position, which is limited to [0, 1] and moved to the next step. */
export function fromPosition(range, position) {
  const { minimum, maximum, curve } = range;
  const steps = numSteps(range);
  let exact = Math.min(1, Math.max(0, position));
  if (steps) exact = Math.round(exact * steps) / steps;
  const value = curve === "log" ? minimum * (maximum / minimum) ** exact : minimum + exact * (maximum - minimum);
  return Number(value.toPrecision(6));
}

/** Return the number of steps of a range; 0 if it has every value. */
export function numSteps({ minimum, maximum, step }) {
  return step ? Math.round((maximum - minimum) / step) : 0;
}

/** Return a value of a preset, moved to the next step; null if the parameter cannot have it. */
export function accept(parameter, value) {
  if (parameter.kind === "choice") return parameter.values.includes(value) ? value : null;
  if (parameter.kind === "constant") return value === parameter.value ? value : null;
  const { minimum, maximum } = parameter;
  const rounding = 1e-5 * Math.max(Math.abs(minimum), Math.abs(maximum));  // files have six digits
  if (typeof value !== "number" || !(value >= minimum - rounding && value <= maximum + rounding)) return null;
  return parameter.step ? fromPosition(parameter, toPosition(parameter, value)) : Math.min(maximum, Math.max(minimum, value));
}

/** Return a value as a number to read and to type: at most two decimals. */
export function formatNumber({ step }, value) {
  if (step) return String(value);
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  return value.toFixed(size >= 10 ? 1 : 2).replace(/^-(0\.?0*)$/, "$1");
}

/** Return a value with its unit, in words. */
export function formatValue(parameter, value) {
  if (typeof value === "string") return value;
  const number = formatNumber(parameter, value).replace("-", "\u2212");
  return parameter.unit ? `${number} ${parameter.unit}` : number;
}

/** Return the unit as it fits next to a field. */
export const shortUnit = ({ unit = "" }) => SHORT_UNITS[unit] ?? unit;

/** Return the key of a parameter's group: "oscillator_1", "filter_envelope", "noise". */
export function groupOf(name) {
  const [first, second, ...rest] = name.split("_");
  const isPart = rest.length > 0 && (/^\d+$/.test(second) || second === "envelope" || second === "lfo");
  return isPart ? `${first}_${second}` : first;
}

/** Return the name of a parameter within its group, in words. */
export const shortName = (name) => inWords(name.slice(groupOf(name).length + 1));

/** Return a name in words: "Filter LFO frequency". */
export function inWords(name) {
  return name.replaceAll("_", " ").replace(/\blfo\b/, "LFO");
}

/** Return a name in words that starts a sentence. */
export const asTitle = (name) => inWords(name).replace(/^./, (letter) => letter.toUpperCase());

/** Return the groups in the table's order: `[key, parameters]`, learned ones only. */
export function groups(table) {
  const found = new Map();
  for (const parameter of table.filter(({ kind }) => kind !== "constant")) {
    const key = groupOf(parameter.name);
    found.set(key, [...(found.get(key) ?? []), parameter]);
  }
  return [...found];
}

/** Return the constants in words: "note pitch 57 semitones". */
export function constantsInWords(table) {
  return table.filter(({ kind }) => kind === "constant").map((p) => `${inWords(p.name)} ${p.value} ${p.unit}`.trim());
}
