/** Controls of the two sounds: play, switch, seek, loop, equal loudness. The sound itself is in `transport.js`. */

import { byId } from "./dom.js";
import { equalGains } from "./loudness.js";
import { Transport } from "./transport.js";

const STEP_S = 0.1;
const PAGE_STEP_S = 0.5;
const KEY_STEPS_S = {
  ArrowLeft: -STEP_S, ArrowDown: -STEP_S, ArrowRight: STEP_S, ArrowUp: STEP_S,
  PageDown: -PAGE_STEP_S, PageUp: PAGE_STEP_S, Home: -Infinity, End: Infinity,
};
const NAMES = ["Original", "Match"];
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** The page's player. `order` maps the two buttons to sounds; the blind test mixes it. */
export class Player {
  #transport = new Transport(() => this.#showState());
  #samples = [null, null];
  #order = [0, 1];
  #names = NAMES;
  #dragged = undefined;  // where the pointer is while it drags, in seconds
  #slider = byId("waveform");
  #radios = [byId("voice-0"), byId("voice-1")];

  constructor() {
    byId("play").addEventListener("click", () => this.toggle());
    byId("loop").addEventListener("change", ({ target }) => { this.#transport.loop = target.checked; });
    byId("level").addEventListener("change", () => this.#showGains());
    for (const radio of this.#radios) {
      radio.addEventListener("change", () => this.#switch());
      radio.labels[0].addEventListener("click", () => { if (!this.#transport.isPlaying) this.#play(); });
    }
    this.#slider.addEventListener("pointerdown", (event) => this.#drag(event));
    this.#slider.addEventListener("keydown", (event) => this.#steer(event));
    byId("work").addEventListener("keydown", (event) => this.#shortcut(event));
  }

  /** Set the original (0) or the match (1): `{ bytes, samples }`, or null if there is none. */
  setSound(index, sound) {
    this.#samples[index] = sound?.samples ?? null;
    this.#transport.setSound(index, sound?.bytes ?? null);
    const hasBoth = this.#samples.every(Boolean);
    byId("play").disabled = this.#transport.isEmpty;
    byId("voices").disabled = !hasBoth;
    byId("blind").disabled = !hasBoth;
    if (!hasBoth && this.#samples[this.#sound] === null) this.choose(this.#order.indexOf(1));
    this.#showGains();
    this.#showState();
  }

  /** Name the buttons, and map them to sounds. */
  setOrder(order, names = NAMES) {
    [this.#order, this.#names] = [order, names];
    this.#radios.forEach((radio, i) => { radio.labels[0].textContent = names[i]; });
    byId("voices").classList.toggle("mixed", names !== NAMES);
    this.#switch();
    this.#showGains();
  }

  /** Press one of the two buttons. */
  choose(button) {
    this.#radios[button].checked = true;
    this.#switch();
  }

  async toggle() {
    if (this.#transport.isPlaying) this.#transport.pause();
    else await this.#play();
    this.#showState();
  }

  async #play() {
    if (this.#transport.isEmpty) return;
    await this.#transport.play();
    this.#showState();
    this.#follow();
  }

  get #sound() {
    return this.#order[this.#radios.findIndex((radio) => radio.checked)];
  }

  #switch() {
    this.#transport.select(this.#sound);
    byId("scene").dataset.heard = this.#names === NAMES ? this.#sound : "";
  }

  #showGains() {
    const isEqual = byId("level").checked;
    const gains = equalGains(this.#samples.map((samples) => samples ?? []));
    this.#transport.setLevels(isEqual ? gains.map((db) => 10 ** (db / 20)) : [1, 1]);
    const texts = gains.flatMap((db, i) => (this.#samples[i] ? [`${NAMES[i].toLowerCase()} ${withSign(db)} dB`] : []));
    const isBlind = this.#names !== NAMES;
    byId("gains").textContent = isEqual && texts.length && !isBlind ? `Gain for equal loudness: ${texts.join(", ")}` : "";
  }

  #shortcut(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input[type=text]")) return;
    if (event.key === "p" || event.key === "P") this.toggle();
    else if ((event.key === "1" || event.key === "2") && !byId("voices").disabled) this.choose(Number(event.key) - 1);
    else return;
    event.preventDefault();
  }

  #steer(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in KEY_STEPS_S) this.#seek(this.#transport.position + KEY_STEPS_S[event.key], true);
    else if (event.key === " ") this.toggle();
    else return;
    event.preventDefault();
  }

  #seek(position, isKey = false) {
    this.#transport.seek(position);
    this.#showPosition(isKey);
  }

  #drag(event) {
    if (event.button !== 0 || this.#transport.isEmpty) return;
    const { left, width } = this.#slider.getBoundingClientRect();
    const at = ({ clientX }) => Math.min(Math.max((clientX - left) / width, 0), 1) * this.#transport.duration;
    const move = (moved) => { this.#dragged = at(moved); this.#showPosition(); };
    const finish = (ended) => {
      this.#dragged = undefined;
      this.#slider.removeEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel"]) this.#slider.removeEventListener(name, finish);
      if (ended.type === "pointerup") this.#seek(at(ended));
    };
    this.#slider.setPointerCapture(event.pointerId);
    this.#slider.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) this.#slider.addEventListener(name, finish);
    move(event);
  }

  #follow() {
    if (!this.#transport.isPlaying) return;
    this.#showPosition();
    requestAnimationFrame(() => this.#follow());
  }

  #showState() {
    byId("play").classList.toggle("playing", this.#transport.isPlaying);
    byId("play").querySelector(".word").textContent = this.#transport.isPlaying ? "Pause" : "Play";
    this.#showPosition();
  }

  #showPosition(isKey = false) {
    const exact = this.#dragged ?? this.#transport.position;
    const position = reducedMotion.matches ? Math.floor(exact / STEP_S) * STEP_S : exact;
    byId("scene").style.setProperty("--position", position / this.#transport.duration);
    byId("clock").textContent = `${exact.toFixed(2)} s`;
    // A screen reader reads each change of a slider that has the focus, which would talk over the sound.
    const wouldTalk = this.#transport.isPlaying && document.activeElement === this.#slider && !isKey;
    if (wouldTalk && this.#dragged === undefined) return;
    this.#slider.setAttribute("aria-valuenow", exact.toFixed(2));
    this.#slider.setAttribute("aria-valuetext", `${exact.toFixed(2)} of ${this.#transport.duration.toFixed(2)} seconds`);
  }
}

const withSign = (db) => `${db < 0 ? "\u2212" : "+"}${Math.abs(db).toFixed(1)}`;
