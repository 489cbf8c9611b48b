/** The dialog that records a sound: choice of the device, level, countdown, and a WAV file at the end. */

import { byId, create, showMessage } from "./dom.js";
import { peak } from "./loudness.js";
import { encodeWav } from "./wave.js";

const COUNTDOWN_S = 3;
const LONGEST_S = 8;
const UNPROCESSED = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
const REASONS = {
  NotAllowedError: "The browser does not allow this page to use the microphone. Allow it in the address bar, then try again.",
  NotFoundError: "No microphone was found. Connect one, then try again.",
  NotReadableError: "The microphone is in use by another program. Close that program, then try again.",
};

export class Recorder {
  #turn = 0;  // counts releases, so that a microphone that is allowed too late is not kept
  #stream = null;
  #context = null;
  #chunks = null;  // while recording
  #timer = null;
  #count = 0;

  /** `onRecorded(file)` gets a WAV file. */
  constructor(onRecorded) {
    this.onRecorded = onRecorded;
    byId("record").addEventListener("click", () => this.#open());
    byId("recorder-start").addEventListener("click", () => this.#press());
    byId("recorder-close").addEventListener("click", () => byId("recorder").close());
    byId("recorder").addEventListener("close", () => this.#release());
    byId("device").addEventListener("change", ({ target }) => this.#listen(target.value));
  }

  async #open() {
    byId("recorder").showModal();
    this.#showIdle();
    await this.#listen();
    byId("recorder-start").focus();
  }

  async #listen(deviceId) {
    this.#release();
    const turn = this.#turn;
    showMessage("recorder-message", "");
    try {
      if (!navigator.mediaDevices) throw new Error("Recording needs a secure page. Open it over HTTPS or on localhost.");
      const audio = deviceId ? { ...UNPROCESSED, deviceId: { exact: deviceId } } : UNPROCESSED;
      const stream = await navigator.mediaDevices.getUserMedia({ audio });
      if (turn !== this.#turn) return stopTracks(stream);  // closed while the browser asked
      this.#stream = stream;
      await this.#connect(stream);
      await this.#listDevices(stream);
      if (turn === this.#turn) byId("recorder-start").disabled = false;
    } catch (error) {
      if (turn === this.#turn) showMessage("recorder-message", REASONS[error.name] ?? error.message, true);
    }
    return undefined;
  }

  async #connect(stream) {
    const context = new AudioContext();
    this.#context = context;
    await context.audioWorklet.addModule(new URL("recorder-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => this.#receive(data);
    context.createMediaStreamSource(stream).connect(node);
    await context.resume();
  }

  async #listDevices(stream) {
    const current = stream.getAudioTracks()[0].getSettings().deviceId;
    const inputs = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "audioinput");
    byId("device").replaceChildren(...inputs.map(({ deviceId, label }, i) => {
      return create("option", { value: deviceId, selected: deviceId === current }, label || `Input ${i + 1}`);
    }));
  }

  #receive(samples) {
    const level = 20 * Math.log10(peak(samples) + 1e-6);
    byId("meter").value = Math.max(level, byId("meter").value - 0.3);  // falls slowly
    byId("meter").setAttribute("aria-valuetext", `${Math.round(byId("meter").value)} dB`);
    if (!this.#chunks) return;
    this.#chunks.push(samples);
    if (this.#seconds >= LONGEST_S) this.#finish();
    else this.#showSeconds(Math.floor(this.#seconds));
  }

  get #seconds() {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0) / this.#context.sampleRate;
  }

  #showSeconds(seconds) {
    const text = `${seconds} of ${LONGEST_S} s`;
    if (byId("count").textContent !== text) byId("count").textContent = text;  // each change is read out
  }

  #press() {
    if (this.#chunks) return this.#finish();
    if (this.#timer) return this.#showIdle();
    this.#count = COUNTDOWN_S;
    byId("recorder-start").textContent = "Stop";
    byId("count").textContent = this.#count;
    this.#timer = setInterval(() => this.#tick(), 1000);
    return undefined;
  }

  #tick() {
    this.#count -= 1;
    if (this.#count > 0) {
      byId("count").textContent = this.#count;
      return;
    }
    clearInterval(this.#timer);
    this.#timer = null;
    this.#chunks = [];
  }

  #finish() {
    const samples = Float32Array.from(this.#chunks.flatMap((chunk) => [...chunk]));
    const rateHz = this.#context.sampleRate;
    byId("recorder").close();
    const time = new Date().toTimeString().slice(0, 8);
    this.onRecorded(new File([encodeWav(samples, rateHz)], `Recording ${time}.wav`, { type: "audio/wav" }));
  }

  #showIdle() {
    clearInterval(this.#timer);
    [this.#timer, this.#chunks] = [null, null];
    byId("recorder-start").textContent = "Record";
    byId("count").textContent = "";
  }

  #release() {
    this.#turn += 1;
    this.#showIdle();
    byId("recorder-start").disabled = true;
    if (this.#stream) stopTracks(this.#stream);
    this.#context?.close();
    [this.#stream, this.#context] = [null, null];
  }
}

function stopTracks(stream) {
  for (const track of stream.getTracks()) track.stop();
}
