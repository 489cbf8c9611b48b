/**
 * What is shown and heard: one state, and the changes from it to the next.
 *
 * A state is `{ sound, original, matched, values, facts, distance }`; without a sound it has a title. `matched` are the
 * values to return to, `facts` say by parameter what is heard and how sure the match is. The values of a state never
 * change; its facts and distance are filled in when it is rendered. Undo steps and the history hold states.
 */

import { announce, byId, showMessage } from "./dom.js";
import { Edits } from "./edits.js";
import { History } from "./history.js";
import { Renderer } from "./renderer.js";
import { inWords } from "./table.js";
import { decode, fromBase64 } from "./wave.js";

export class Stage {
  #edits = new Edits();
  #history = new History((state) => this.open(state));
  #renderer = new Renderer({
    onAnswer: (answer, state) => this.#adopt(answer, state),
    onError: (error) => showMessage("panel-message", error.message, true),
  });
  #turn = 0;  // counts what was opened or asked for, so that only the newest is shown
  state = null;
  wav = null;  // bytes of the sound that is shown; null until it is rendered

  /** `onChange()` is called when a person changes a setting, `onOpen(state)` for each state that is opened. */
  constructor(table, { player, pictures, makePanel, onChange, onOpen }) {
    Object.assign(this, { table, player, pictures, onChange, onOpen });
    this.panel = makePanel({ onInput: (values) => this.#input(values), onCommit: (name) => this.#commit(name) });
    byId("undo").addEventListener("click", () => this.#move(-1));
    byId("redo").addEventListener("click", () => this.#move(1));
    byId("reset").addEventListener("click", () => this.#reset());
    byId("panel").addEventListener("keydown", (event) => this.#shortcut(event));
  }

  /** Show the service's answer for a sound, as a new match. `detail` says how it was found. */
  async openMatch(sound, answer, detail) {
    this.#turn += 1;
    const turn = this.#turn;
    const state = await this.#stateOf(sound, answer);
    if (turn !== this.#turn) return;  // something else was opened meanwhile
    const shown = this.open(state, fromBase64(answer.sounds.match));
    this.record(detail);
    await shown;
  }

  /**
   * Show a match of the sound that is open, if it is closer than what is shown, without a step in the history. Return
   * whether it is shown.
   */
  async improve(answer, signal) {
    const state = { ...(await this.#stateOf(this.state.sound, answer)), original: this.state.original };
    if (signal.aborted || !isCloser(state, this.state)) return false;
    this.#renderer.cancel();
    this.#set(state);
    await this.#setMatchSound(fromBase64(answer.sounds.match));
    return !signal.aborted;
  }

  /** Make what is shown a step that can be undone, and an entry of the history. */
  record(detail) {
    const { state } = this;
    if (this.#edits.current !== state) this.#edits.add(state);
    if (state.sound) state.sound.latest = state;
    this.#history.add(state, detail);
    this.#showButtons();
  }

  /** Show the preset of a file, and compare it with the sound that is open, if there is one. */
  openPreset(values, name) {
    const { sound = null, original = null } = this.state ?? {};
    return this.#openValues({ sound, original, values, title: name }, `preset ${name}`);
  }

  /** Show the preset of a link, without a sound to compare with. */
  openLink(values) {
    return this.#openValues({ sound: null, original: null, values, title: "Preset from a link" }, "link");
  }

  async #openValues(state, detail) {
    const shown = this.open({ ...state, matched: state.values, facts: {}, distance: null });
    this.record(detail);
    await shown;
  }

  /** Show a state; without its sound, render it. */
  async open(state, wav = null) {
    this.#turn += 1;
    this.#renderer.cancel();
    this.onOpen(state);
    this.#history.showOpen(state);
    this.#edits.start(state);
    const isNew = state.original !== this.state?.original || this.state === null;
    this.#set(state);
    if (isNew) this.#setSound(0, state.original);
    if (wav) await this.#setMatchSound(wav);
    else this.#renderer.request(state);
  }

  /** Return a promise of the sound of the values that are shown; null if they could not be rendered. */
  async settledWav() {
    await this.#renderer.settled();
    return this.wav;
  }

  async #stateOf(sound, { preset, sounds }) {
    const values = Object.fromEntries(Object.entries(preset.parameters).map(([name, entry]) => [name, entry.value]));
    const bytes = fromBase64(sounds.original);
    const original = { bytes, samples: await decode(bytes), base64: sounds.original };
    return { sound, original, matched: values, values, facts: preset.parameters, distance: preset.distance_db };
  }

  #set(state) {
    this.state = state;
    this.wav = null;
    byId("panel").hidden = false;
    this.panel.show(state.values, state.matched, this.#facts());
    showMessage("panel-message", "");
    this.#showDistance();
    this.#showButtons();
  }

  /** Return the facts of the state; a value that was changed has no confidence. */
  #facts() {
    const { values, matched, facts } = this.state;
    const entries = Object.entries(facts).map(([name, fact]) => {
      return [name, values[name] === matched[name] ? fact : { ...fact, confidence: undefined }];
    });
    return Object.fromEntries(entries);
  }

  #input(values) {
    this.onChange();
    this.state = { ...this.state, values, distance: null };  // until it is rendered
    this.wav = null;
    this.panel.showFacts(this.#facts());
    this.#renderer.request(this.state);
    this.#showButtons();
  }

  #commit(name) {
    if (this.state === this.#edits.current) return;
    this.#edits.add(this.state, name);
    this.#showButtons();
    this.#note();
  }

  #move(step) {
    this.onChange();
    if (!(step < 0 ? this.#edits.canUndo : this.#edits.canRedo)) return;
    this.#jump(this.#edits.move(step));
  }

  #reset() {
    this.onChange();
    const state = { ...this.state, values: this.state.matched, distance: null };
    this.#edits.add(state);
    this.#jump(state);
  }

  #jump(state) {
    this.#renderer.cancel();
    this.#set(state);
    this.#renderer.request(state);
    this.#note();
  }

  /** Write the changed preset into the history: one entry for all changes of a match. */
  #note() {
    const { state } = this;
    if (state.sound) state.sound.latest = state;
    const names = Object.keys(state.values).filter((name) => state.values[name] !== state.matched[name]);
    const others = names.length > 1 ? ` and ${names.length - 1} more` : "";
    const detail = names.length ? `changed ${inWords(names.at(-1))}${others}` : "unchanged match";
    this.#history.noteChange(state, detail, names.length > 0);
  }

  /** Take over what the service says about a state, and its sound if it is still the one that is shown. */
  async #adopt(answer, state) {
    const facts = { ...state.facts };
    for (const [name, { audible, why_inaudible }] of Object.entries(answer.preset.parameters)) {
      facts[name] = { confidence: state.facts[name]?.confidence, audible, why_inaudible };
    }
    Object.assign(state, { facts, distance: answer.distance_db });
    this.#history.showDistance(state);
    if (state.values !== this.state.values) return;  // a newer one is being rendered
    Object.assign(this.state, { facts, distance: answer.distance_db });
    this.panel.showFacts(this.#facts());
    showMessage("panel-message", "");
    this.#showDistance();
    if (this.state.distance !== null) announce("distance", `The distance is ${this.state.distance.toFixed(2)} decibels.`);
    await this.#setMatchSound(fromBase64(answer.sound));
  }

  async #setMatchSound(bytes) {
    this.wav = bytes;
    const samples = await decode(bytes);
    if (this.wav === bytes) this.#setSound(1, { bytes, samples });
  }

  #setSound(index, sound) {
    this.player.setSound(index, sound);
    this.pictures.setSound(index, sound?.samples ?? null);
  }

  #shortcut(event) {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.target.matches("input[type=text]")) return;
    const key = event.key.toLowerCase();
    if (key === "z") this.#move(event.shiftKey ? 1 : -1);
    else if (key === "y") this.#move(1);
    else return;
    event.preventDefault();
  }

  #showDistance() {
    const { distance } = this.state;
    byId("distance").querySelector("b").textContent = distance === null ? "\u2013" : distance.toFixed(2);
  }

  #showButtons() {
    const { values, matched } = this.state;
    enable("undo", this.#edits.canUndo);
    enable("redo", this.#edits.canRedo);
    enable("reset", Object.keys(values).some((name) => values[name] !== matched[name]));
  }
}

/** Return whether a state is closer to its sound than another one, whose distance may still be unknown. */
function isCloser({ distance }, shown) {
  return shown.distance === null || distance < shown.distance;
}

/** Enable or disable a button; a disabled one gives its focus to the title, from where the next key goes on. */
function enable(id, isEnabled) {
  const button = byId(id);
  if (!isEnabled && button === document.activeElement) byId("panel-title").focus({ preventScroll: true });
  button.disabled = !isEnabled;
}
