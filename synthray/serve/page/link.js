/** Links that hold a preset in their fragment: `#preset=` and base64url of JSON. */

import { accept, inWords } from "./table.js";
import { fromBase64 } from "./wave.js";

const PREFIX = "#preset=";

/** A fragment that cannot be read; the message is for people. */
export class LinkError extends Error {}

/** Return the fragment for values by name. Constants are left out: the table has them. */
export function toFragment(table, values) {
  const learned = table.filter(({ kind }) => kind !== "constant");
  const list = learned.map((p) => (p.kind === "choice" ? p.values.indexOf(values[p.name]) : values[p.name]));
  const text = btoa(JSON.stringify([signature(learned), ...list]));
  return PREFIX + text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Return the values by name in a fragment, or null if it holds no preset. */
export function fromFragment(table, fragment) {
  if (!fragment.startsWith(PREFIX)) return null;
  const learned = table.filter(({ kind }) => kind !== "constant");
  const [found, ...list] = parse(fragment.slice(PREFIX.length));
  if (found !== signature(learned) || list.length !== learned.length) {
    throw new LinkError("This link holds a preset of another version of the instrument. Ask for its preset file, and render it with synthray render.");
  }
  const values = Object.fromEntries(table.filter(({ kind }) => kind === "constant").map(({ name, value }) => [name, value]));
  learned.forEach((p, i) => { values[p.name] = check(p, list[i]); });
  return values;
}

function parse(text) {
  try {
    const list = JSON.parse(new TextDecoder().decode(fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"))));
    if (Array.isArray(list)) return list;
  } catch { /* the error below says it in words */ }
  throw new LinkError("This link is incomplete or was changed, so its preset cannot be read. Copy the whole link again.");
}

function check(parameter, value) {
  const isIndex = parameter.kind === "choice" && Number.isInteger(value);
  const accepted = accept(parameter, isIndex ? parameter.values[value] : value);
  if (accepted !== null) return accepted;
  throw new LinkError(`This link gives ${inWords(parameter.name)} a value that it cannot have (${value}). Copy the whole link again.`);
}

/** Return a short text that changes with the table's parameters (FNV-1a). */
function signature(learned) {
  let hash = 0x811c9dc5;
  for (const letter of JSON.stringify(learned.map((p) => [p.name, p.values ?? [p.minimum, p.maximum, p.unit]]))) {
    hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  }
  return hash.toString(36);
}
