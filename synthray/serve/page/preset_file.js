/** Preset files: reading one that was saved, by this page or by the service. */

import { accept, inWords } from "./table.js";

const LONGEST = 1e6;  // bytes; a preset has some thousands
const OTHER_FILE = "This file is not a preset of synthray. A preset is saved with the button \u201cPreset\u201d.";

/** A file that is no preset; the message is for people. */
export class PresetError extends Error {}

export const isPresetFile = ({ name, type }) => type === "application/json" || /\.json$/i.test(name);

/** Return the values by name in a preset file. */
export async function readPreset(table, file) {
  const parameters = findParameters(await readJson(file));
  const names = table.map(({ name }) => name);
  if (Object.keys(parameters).length !== names.length || !names.every((name) => Object.hasOwn(parameters, name))) {
    throw new PresetError("This preset is of another version of the instrument, so this page cannot show it.");
  }
  return Object.fromEntries(table.map((parameter) => [parameter.name, read(parameter, parameters[parameter.name])]));
}

async function readJson(file) {
  if (file.size > LONGEST) throw new PresetError(OTHER_FILE);
  try {
    return JSON.parse(await file.text());
  } catch {
    throw new PresetError(OTHER_FILE);
  }
}

/** Return the entries by name. The service's answer to a match, which has the preset as an entry, is accepted, too. */
function findParameters(json) {
  const parameters = (json?.preset ?? json)?.parameters;
  if (typeof parameters !== "object" || parameters === null || Array.isArray(parameters)) throw new PresetError(OTHER_FILE);
  return parameters;
}

function read(parameter, entry) {
  const { value, unit } = typeof entry === "object" && entry !== null ? entry : { value: entry };
  const name = inWords(parameter.name);
  if (unit !== undefined && unit !== (parameter.unit ?? "")) {
    throw new PresetError(`This preset gives ${name} in ${unit}, not in ${parameter.unit}.`);
  }
  const accepted = accept(parameter, value);
  if (accepted === null) throw new PresetError(`This preset gives ${name} a value that it cannot have (${value}).`);
  return accepted;
}
