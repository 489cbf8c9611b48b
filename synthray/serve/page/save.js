/** Ways to take a preset along: files, a link, and a command. */

import { byId, download, showMessage } from "./dom.js";
import { toFragment } from "./link.js";

const FORMAT = "synthray-preset/1";
const BUTTONS = ["save-preset", "save-sound", "copy-link", "copy-command"];

/** Connect the buttons to the stage whose preset they save. */
export function connectSaving(stage) {
  byId("save-preset").addEventListener("click", () => {
    download(new Blob([`${JSON.stringify(presetOf(stage), null, 1)}\n`], { type: "application/json" }), `${nameOf(stage)}.json`);
  });
  byId("save-sound").addEventListener("click", async () => {
    const wav = await stage.settledWav();
    if (wav) download(new Blob([wav], { type: "audio/wav" }), `${nameOf(stage)}.wav`);
    showMessage("save-message", wav ? "" : "The sound is not rendered yet. Try again.", true);
  });
  byId("copy-link").addEventListener("click", () => {
    const page = location.href.split("#")[0];
    copy(page + toFragment(stage.table, stage.state.values), "The link is copied. It holds the whole preset.");
  });
  byId("copy-command").addEventListener("click", () => {
    copy(commandOf(stage), "The command is copied. Paste it into a terminal to render the sound.");
  });
}

/** Enable the buttons, once there is a preset. */
export function enableSaving() {
  for (const id of BUTTONS) byId(id).disabled = false;
}

function presetOf({ table, state }) {
  const entries = table.map(({ name, unit }) => [name, unit ? { value: state.values[name], unit } : { value: state.values[name] }]);
  const distance = state.distance === null ? {} : { distance_db: state.distance };
  return { format: FORMAT, ...distance, parameters: Object.fromEntries(entries) };
}

function commandOf({ table, state }) {
  const values = Object.fromEntries(table.map(({ name }) => [name, state.values[name]]));
  const json = JSON.stringify({ format: FORMAT, parameters: values });
  return `cat > preset.json <<'EOF'\n${json}\nEOF\nsynthray render preset.json --out match.wav\n`;
}

function nameOf({ state }) {
  const name = state.sound?.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}]+/gu, "-").toLowerCase();
  return `${name || "preset"}-match`;
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    showMessage("save-message", done);
  } catch {  // refused, or the page is not served over HTTPS
    byId("copy-text").value = text;
    byId("copy").showModal();
    byId("copy-text").select();
  }
}
