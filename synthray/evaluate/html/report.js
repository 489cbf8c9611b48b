"use strict";

const FADE_S = 0.005;  // time constant
const FADED_S = 10 * FADE_S;
const LEAD_S = 0.03;  // sources that start in the past would each start when they are ready, not together
const PAGE_STEP_S = 0.5;
const STEP_S = 0.1;
const KEY_STEPS_S = {
  ArrowLeft: -STEP_S, ArrowDown: -STEP_S, ArrowRight: STEP_S, ArrowUp: STEP_S,
  PageDown: -PAGE_STEP_S, PageUp: PAGE_STEP_S, Home: -Infinity, End: Infinity,
};
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
let context = null;  // made by the first click, because browsers refuse sound before it
let playing = null;  // the player that sounds now; starting another one stops it

function decode(dataUri) {
  const bytes = Uint8Array.from(atob(dataUri.slice(dataUri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
  return context.decodeAudioData(bytes.buffer);
}

/**
 * Fade from one gain to another. One signal drives both: they always add up to 1, even on a busy machine, where two commands
 * take effect at different moments, or if another fade follows at once. Return the signal, which holds the gains until it stops.
 */
function crossFade(from, to) {
  const signal = new ConstantSourceNode(context, { offset: 0 });
  signal.connect(new GainNode(context, { gain: -1 })).connect(from.gain);
  signal.connect(to.gain);
  signal.start();
  signal.offset.setTargetAtTime(1, context.currentTime, FADE_S);
  return signal;
}

/** The sounds of an example, which start at the same sample. Only their gains change, so a switch keeps the position. */
class Transport {
  constructor(buffers, selected, offset, loop, onended) {
    this.startedAt = context.currentTime + LEAD_S;
    this.selected = selected;
    this.offset = offset;
    this.duration = buffers[0].duration;
    this.finishedLaps = 0;
    this.output = new GainNode(context, { gain: offset > 0 ? 0 : 1 });  // the beginning keeps its attack
    this.output.connect(context.destination);
    if (offset > 0) this.output.gain.setTargetAtTime(1, this.startedAt, FADE_S);
    this.gains = buffers.map((_, index) => new GainNode(context, { gain: index === selected ? 1 : 0 }));
    this.sources = buffers.map((buffer, index) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop });
      source.connect(this.gains[index]).connect(this.output);
      source.start(this.startedAt, offset);
      return source;
    });
    this.sources[0].onended = onended;
    this.fades = [];
  }

  get elapsed() {
    return this.offset + Math.max(0, context.currentTime - this.startedAt);
  }

  get position() {
    if (this.sources[0].loop) return this.elapsed % this.duration;
    return Math.min(this.elapsed - this.finishedLaps * this.duration, this.duration);
  }

  set loop(loop) {
    this.finishedLaps = Math.floor(this.elapsed / this.duration);
    for (const source of this.sources) source.loop = loop;
  }

  select(selected) {
    if (selected === this.selected) return;
    this.fades.push(crossFade(this.gains[this.selected], this.gains[selected]));
    this.selected = selected;
  }

  stop() {
    this.sources[0].onended = null;
    this.output.gain.setTargetAtTime(0, context.currentTime, FADE_S);
    for (const source of [...this.sources, ...this.fades]) source.stop(context.currentTime + FADED_S);
  }
}

/** One example: its controls, waveform, and the playheads in its spectrograms. */
class Player {
  constructor(example) {
    this.example = example;
    this.box = example.querySelector(".player");
    this.playButton = example.querySelector(".play");
    this.loop = example.querySelector(".loop");
    this.radios = [...example.querySelectorAll(".voices input")];
    this.slider = example.querySelector(".waveform");
    this.waveforms = [...this.slider.querySelectorAll("path")];
    this.clock = example.querySelector(".clock");
    this.duration = Number(this.slider.getAttribute("aria-valuemax"));
    this.stoppedAt = 0;
    this.dragged = undefined;  // where the pointer is while it drags, in seconds
    this.transport = null;
    this.buffers = null;
    this.listen();
    this.box.querySelector(".controls").hidden = false;
    this.box.querySelector(".fallback").hidden = true;
    this.showVoice();
  }

  listen() {
    this.playButton.addEventListener("click", () => (this.transport ? this.pause() : this.play()));
    this.loop.addEventListener("change", () => { if (this.transport) this.transport.loop = this.loop.checked; });
    for (const radio of this.radios) radio.addEventListener("change", () => this.switchVoice());
    for (const label of this.box.querySelectorAll(".voices label")) {
      label.addEventListener("click", () => { if (!this.transport) this.play(); });  // a tap on a sound plays it
    }
    this.slider.addEventListener("pointerdown", (event) => this.drag(event));
    this.slider.addEventListener("keydown", (event) => this.steer(event));
    this.box.addEventListener("keydown", (event) => this.shortcut(event));
  }

  get selected() {
    return this.radios.findIndex((radio) => radio.checked);
  }

  get position() {
    return this.transport ? this.transport.position : this.stoppedAt;
  }

  async play() {
    if (playing && playing !== this) playing.pause();
    playing = this;
    context ??= new AudioContext({ latencyHint: "interactive" });
    await context.resume();
    this.buffers ??= await Promise.all([...this.box.querySelectorAll("audio")].map((audio) => decode(audio.src)));
    if (playing !== this || this.transport) return;  // another click came first
    this.start(this.stoppedAt < this.duration ? this.stoppedAt : 0);
    this.showPlaying(true);
    this.follow();
  }

  start(offset) {
    this.transport = new Transport(this.buffers, this.selected, offset, this.loop.checked, () => this.end());
  }

  pause() {
    this.stoppedAt = this.position;
    this.release();
  }

  end() {
    this.stoppedAt = 0;
    this.release();
  }

  release() {
    this.transport?.stop();
    this.transport = null;
    if (playing === this) playing = null;
    this.showPlaying(false);
    this.showPosition();
  }

  seek(position) {
    this.stoppedAt = Math.min(Math.max(position, 0), this.duration);
    if (this.transport) {
      this.transport.stop();
      this.start(this.stoppedAt);
    }
    this.showPosition();
  }

  switchVoice() {
    this.transport?.select(this.selected);
    this.showVoice();
  }

  shortcut(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const radio = this.radios[Number(event.key) - 1];
    if (event.key === "p") this.playButton.click();
    else if (radio) radio.click();
    else return;
    event.preventDefault();
  }

  steer(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in KEY_STEPS_S) this.seek(this.position + KEY_STEPS_S[event.key]);
    else if (event.key === " ") this.playButton.click();
    else return;
    event.preventDefault();
  }

  drag(event) {
    if (event.button !== 0) return;
    const { left, width } = this.slider.getBoundingClientRect();
    const at = ({ clientX }) => Math.min(Math.max((clientX - left) / width, 0), 1) * this.duration;
    const move = (moved) => { this.dragged = at(moved); this.showPosition(); };
    const finish = (ended) => {
      this.dragged = undefined;
      this.slider.removeEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel"]) this.slider.removeEventListener(name, finish);
      if (ended.type === "pointerup") this.seek(at(ended));
    };
    this.slider.setPointerCapture(event.pointerId);
    this.slider.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) this.slider.addEventListener(name, finish);
    move(event);
  }

  follow() {
    if (!this.transport) return;
    this.showPosition();
    requestAnimationFrame(() => this.follow());
  }

  showVoice() {
    this.waveforms.forEach((path, index) => path.classList.toggle("selected", index === this.selected));
  }

  showPlaying(isPlaying) {
    this.playButton.classList.toggle("playing", isPlaying);
    this.playButton.querySelector(".word").textContent = isPlaying ? "Pause" : "Play";
  }

  showPosition() {
    const exact = this.dragged ?? this.position;
    const position = reducedMotion.matches ? Math.floor(exact / STEP_S) * STEP_S : exact;
    this.example.style.setProperty("--position", position / this.duration);
    this.clock.textContent = `${exact.toFixed(2)} / ${this.duration.toFixed(2)} s`;
    // A screen reader reads each change of a slider that has the focus, which would talk over the sound.
    if (this.transport && document.activeElement === this.slider && this.dragged === undefined) return;
    this.slider.setAttribute("aria-valuenow", exact.toFixed(2));
    this.slider.setAttribute("aria-valuetext", `${exact.toFixed(2)} of ${this.duration.toFixed(2)} seconds`);
  }
}

for (const example of document.querySelectorAll(".example")) new Player(example);
