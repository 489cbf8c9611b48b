/** The list of sounds: files, recordings and examples, matched one after another. */

import { byId, create } from "./dom.js";
import { showProblem } from "./problems.js";

/** A sound that was added, and what became of it. */
class Sound {
  state = "waiting";  // then "matching", "matched" or "failed"
  error = "";
  distance = null;
  latest = null;  // the state in which it was seen last

  constructor(name, file) {
    Object.assign(this, { name, file });
    this.figure = create("span", { class: "figure" });
    this.detail = create("span", { class: "detail" });
    this.button = create("button", { type: "button", class: "entry" }, create("span", {}, name), this.figure, this.detail);
  }
}

/**
 * The queue. `match(sound)` resolves when a sound is matched, `open(sound)` shows a matched one. `onAsked()` is called
 * when a person asks for a match.
 */
export class SoundList {
  #sounds = [];
  #isRunning = false;

  constructor({ match, open, onAsked }) {
    Object.assign(this, { match, open, onAsked });
  }

  /** Add files. They are matched one after another; the first one is opened. */
  add(files) {
    const added = files.map((file) => new Sound(file.name, file));
    for (const sound of added) {
      sound.button.addEventListener("click", () => this.#select(sound));
      byId("sounds").append(create("li", {}, sound.button));
      this.#sounds.push(sound);
      this.#show(sound);
    }
    byId("sounds-empty").hidden = true;
    this.#ask(added[0]);
  }

  /** Show which sound is open. */
  mark(current) {
    this.wanted = current;  // a match that is finished later does not replace it
    for (const sound of this.#sounds) sound.button.setAttribute("aria-current", sound === current);
    if (!current) return;
    const [list, { button }] = [byId("sounds"), current];
    const left = button.offsetLeft - list.offsetLeft - (list.clientWidth - button.offsetWidth) / 2;
    list.scrollTo(left, button.offsetTop - list.offsetTop - (list.clientHeight - button.offsetHeight) / 2);
  }

  /** Show the distance of a state whose sound is in the list. */
  showDistance({ sound, distance }) {
    sound.distance = distance;
    this.#show(sound);
  }

  #select(sound) {
    if (sound.state === "matched") this.#open(sound);
    if (sound.state !== "failed") return;
    this.#set(sound, "waiting");  // try again
    this.#ask(sound);
  }

  #ask(sound) {
    this.onAsked();
    this.#run(sound);
  }

  #open(sound) {
    this.open(sound).then(() => this.#set(sound, "matched"), (error) => this.#set(sound, "matched", error.message));
  }

  async #run(wanted) {
    this.wanted = wanted;
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let sound = this.#next(); sound; sound = this.#next()) await this.#matchOne(sound);
    this.#isRunning = false;
  }

  #next() {
    const isWaiting = (sound) => sound?.state === "waiting";
    return isWaiting(this.wanted) ? this.wanted : this.#sounds.find(isWaiting);
  }

  async #matchOne(sound) {
    this.#set(sound, "matching");
    try {
      await this.match(sound);
      this.#set(sound, "matched");
      if (sound === this.wanted) this.#open(sound);
    } catch (error) {
      this.#set(sound, "failed", error.message);
      if (sound === this.wanted) this.wanted = this.#sounds[this.#sounds.indexOf(sound) + 1];
    }
  }

  #set(sound, state, error = "") {
    Object.assign(sound, { state, error });
    showProblem(sound, error, sound.name);
    this.#show(sound);
  }

  #show(sound) {
    const words = { waiting: "waiting", matching: "matching \u2026", failed: "try again" };
    sound.figure.textContent = words[sound.state] ?? `${sound.distance.toFixed(2)} dB`;
    sound.detail.textContent = sound.error;
    sound.detail.classList.toggle("error", sound.error !== "");
  }
}
