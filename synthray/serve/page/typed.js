/** Values that are typed: numbers with units, as people write them, and words when one is refused or changed. */

import { formatValue, fromPosition, shortUnit, toPosition } from "./table.js";

const LONGEST_QUOTE = 20;

/**
 * Return `{ value, remark }` for a range. The value is null if the text is refused; the remark is empty if the value is
 * what was typed. "1.2k", "1,2 kHz" and "1.200,0" are 1200; "1,200" is 1.2 if that is within the range, otherwise 1200.
 */
export function readTyped(range, text) {
  const quote = `\u201c${text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}\u2026` : text}\u201d`;
  if (!text.trim()) return { value: null, remark: "No number was typed." };
  const number = parse(range, text);
  if (Number.isNaN(number)) return { value: null, remark: `${quote} is not a number${range.unit ? ` in ${range.unit}` : ""}.` };
  const inRange = Math.min(range.maximum, Math.max(range.minimum, number));
  const value = range.step ? fromPosition(range, toPosition(range, inRange)) : Number(inRange.toPrecision(6));
  return { value, remark: compare(range, quote, number, value) };
}

function compare(range, quote, number, value) {
  const set = `Set to ${formatValue(range, value)}`;
  if (number > range.maximum) return `${quote} is too large. ${set}, the largest value.`;
  if (number < range.minimum) return `${quote} is too small. ${set}, the smallest value.`;
  return range.step && number !== value ? `${quote} is between two steps. ${set}.` : "";
}

/** Return the number in a text; NaN if it has none, or another unit. */
function parse(range, text) {
  const found = /^([-+]?)([\d.,]+)(e[-+]?\d+)?\s*(k?)([^\d.,]*)$/i.exec(text.trim().replace("\u2212", "-"));
  if (!found) return NaN;
  const [, sign, digits, exponent = "", kilo, rest] = found;
  const unit = rest.trim().toLowerCase();
  const isUnit = [range.unit ?? "", shortUnit(range)].some((name) => name.toLowerCase().startsWith(unit));
  if (!isUnit) return NaN;
  const numbers = readings(digits).map((reading) => Number(sign + reading + exponent) * (kilo ? 1000 : 1));
  return numbers.find((number) => range.minimum <= number && number <= range.maximum) ?? numbers[0] ?? NaN;
}

/** Return what digits can mean, with a decimal point and without separators of thousands, the likeliest first. */
function readings(digits) {
  const decimal = /^(\d+[.,]?\d*|[.,]\d+)$/.test(digits) ? [digits.replace(",", ".")] : [];
  const grouped = /^(\d{1,3}(?:\.\d{3})+)(,\d+)?$/.exec(digits) ?? /^(\d{1,3}(?:,\d{3})+)(\.\d+)?$/.exec(digits);
  return grouped ? [...decimal, grouped[1].replaceAll(/\D/g, "") + (grouped[2] ?? "").replace(",", ".")] : decimal;
}
