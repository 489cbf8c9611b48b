/** The page: makes its parts and connects them. */

import { matchSound, readMetadata } from "./api.js";
import { BlindTest } from "./blind.js";
import { connectBusy } from "./busy.js";
import { announce, byId } from "./dom.js";
import { titleOf } from "./history.js";
import { fromFragment } from "./link.js";
import { Panel } from "./panel.js";
import { Pictures } from "./pictures.js";
import { Player } from "./player.js";
import { isPresetFile, readPreset } from "./preset_file.js";
import { forgetProblems, showProblem } from "./problems.js";
import { Recorder } from "./recorder.js";
import { Refinement } from "./refine.js";
import { connectSaving, enableSaving } from "./save.js";
import { SoundList } from "./sounds.js";
import { connectSource, connectToken } from "./source.js";
import { Stage } from "./stage.js";

const player = new Player();
const pictures = new Pictures();
const blind = new BlindTest(player);
const sounds = new SoundList({ match, open: openSound, onAsked: makeWay });
const refinement = new Refinement({
  getState: () => stage.state,
  improve: (answer, signal) => stage.improve(answer, signal),
  finish: (detail) => { stage.record(detail); sounds.showDistance(stage.state); },
});
let stage = null;
let ready = null;  // promise of the stage; null before a start, and after one that failed
const started = () => (ready ??= start().catch((error) => { ready = null; throw error; }));

connectBusy();
connectToken();
connectSource(add);
new Recorder((file) => add([file]));
addEventListener("hashchange", openLink);
openLink();

/** Read the table of parameters and the limits, and make what depends on them. */
async function start() {
  const { table, longestSearch } = await readMetadata();
  refinement.limit(longestSearch);
  const makePanel = (callbacks) => new Panel(table, callbacks);
  stage = new Stage(table, { player, pictures, makePanel, onChange: stopSearch, onOpen: showOpen });
  connectSaving(stage);
}

/** Show the preset of the address, if it has one. */
async function openLink() {
  try {
    await started();
    const values = fromFragment(stage.table, location.hash);
    if (values) await stage.openLink(values);
    showProblem("link", "");
  } catch (error) {
    showProblem("link", error.message);
  }
}

/** Match sounds, and show presets. */
function add(files) {
  forgetProblems();
  files.filter(isPresetFile).forEach(openFile);
  const others = files.filter((file) => !isPresetFile(file));
  if (others.length) sounds.add(others);
}

/** Show a preset file, in comparison with the sound that is open. */
async function openFile(file) {
  try {
    await started();
    await stage.openPreset(await readPreset(stage.table, file), file.name);
  } catch (error) {
    showProblem(file.name, error.message, file.name);
  }
}

async function match(sound) {
  announce("match", `Matching ${sound.name}.`);
  await started();
  sound.answer = await matchSound(sound.file);
  sound.distance = sound.answer.preset.distance_db;
}

async function openSound(sound) {
  if (sound.latest) return stage.open(sound.latest);
  await stage.openMatch(sound, sound.answer, "match");
  announce("match", `${sound.name} is matched, at a distance of ${sound.distance.toFixed(2)} decibels.`);
  return undefined;
}

function stopSearch() {
  refinement.stop("Stopped, because you changed a setting.");
}

/** Stop the search, because a service with few processors would match the sound only after it. */
function makeWay() {
  refinement.stop("Stopped to match another sound.");
}

/** Show what belongs to a state that was opened. */
function showOpen(state) {
  refinement.stop("Stopped.");
  refinement.enable(state);
  blind.stop();
  enableSaving();
  sounds.mark(state.sound);
  byId("scene-title").textContent = titleOf(state);
  byId("scene-note").textContent = state.sound ? usedPart(state.sound.answer.sound) : "It has no original to compare with.";
}

function usedPart({ skipped_s: skipped, used_s: used }) {
  const from = skipped >= 0.01 ? ` from ${skipped.toFixed(2)} s on` : "";
  return `${used.toFixed(1)} s${from}`;
}
