/**
 * Sounds that play together and start at the same sample. Only their gains change, so a switch keeps the position.
 * Gains approach their targets exponentially: they always add up to 1, even if one switch follows another at once.
 */

const FADE_S = 0.005;  // time constant
const FADED_S = 10 * FADE_S;
const LEAD_S = 0.03;  // sources that start in the past would each start when they are ready, not together

let context = null;  // made by the first click, because browsers refuse sound before it

/** Return samples as a buffer for `Transport`, at the loudspeaker's rate. */
async function toBuffer(bytes) {
  return context.decodeAudioData(bytes.slice().buffer);
}

/** A transport for two sounds. `onended` is called when a sound without a loop has ended. */
export class Transport {
  #files = [null, null];  // bytes of sound files
  #voices = [null, null];  // { source, gain } while playing
  #levels = [1, 1];
  #selected = 0;
  #loop = true;
  #offset = 0;  // position at which playing started, or stopped
  #startedAt = null;  // time of the context; null while stopped
  #finishedLaps = 0;
  #output = null;
  duration = 2;

  constructor(onended) {
    this.onended = onended;
  }

  get isPlaying() {
    return this.#startedAt !== null;
  }

  get position() {
    if (!this.isPlaying) return this.#offset;
    const elapsed = this.#elapsed();
    if (this.#loop) return elapsed % this.duration;
    return Math.min(elapsed - this.#finishedLaps * this.duration, this.duration);
  }

  get isEmpty() {
    return this.#files.every((file) => file === null);
  }

  #elapsed() {
    return this.#offset + Math.max(0, context.currentTime - this.#startedAt);
  }

  /** Set the bytes of a sound file, or null; while playing, the new sound takes over at the same position. */
  async setSound(index, bytes) {
    this.#files[index] = bytes;
    if (!this.isPlaying) return;
    const buffer = bytes && (await toBuffer(bytes));
    if (this.isPlaying && this.#files[index] === bytes) this.#replace(index, buffer);
  }

  async play() {
    context ??= new AudioContext({ latencyHint: "interactive" });
    await context.resume();
    const files = [...this.#files];
    const buffers = await Promise.all(files.map((bytes) => bytes && toBuffer(bytes)));
    if (this.isPlaying) return;  // another click came first
    this.#start(buffers, this.#offset < this.duration ? this.#offset : 0);
    this.#files.forEach((bytes, index) => { if (bytes !== files[index]) this.setSound(index, bytes); });
  }

  #start(buffers, offset) {
    this.#startedAt = context.currentTime + LEAD_S;
    this.#offset = offset;
    this.#finishedLaps = 0;
    this.#output = new GainNode(context, { gain: offset > 0 ? 0 : 1 });  // the beginning keeps its attack
    this.#output.connect(context.destination);
    if (offset > 0) this.#output.gain.setTargetAtTime(1, this.#startedAt, FADE_S);
    this.#voices = buffers.map((buffer, index) => this.#voice(buffer, this.#startedAt, offset, this.#gainOf(index)));
    this.#watchEnd();
  }

  #voice(buffer, when, offset, gain) {
    if (!buffer) return null;
    const source = new AudioBufferSourceNode(context, { buffer, loop: this.#loop });
    const node = new GainNode(context, { gain });
    source.connect(node).connect(this.#output);
    source.start(when, offset);
    return { source, gain: node.gain, buffer };
  }

  #replace(index, buffer) {
    const when = context.currentTime + LEAD_S;
    const offset = (this.position + Math.max(0, when - Math.max(this.#startedAt, context.currentTime))) % this.duration;
    const old = this.#voices[index];
    old?.gain.setTargetAtTime(0, when, FADE_S);
    old?.source.stop(when + FADED_S);
    if (old) old.source.onended = null;
    this.#voices[index] = this.#voice(buffer, when, offset, 0);
    this.#voices[index]?.gain.setTargetAtTime(this.#gainOf(index), when, FADE_S);
    this.#watchEnd();
  }

  #watchEnd() {
    const first = this.#voices.find(Boolean);
    for (const voice of this.#voices) if (voice) voice.source.onended = null;
    if (first) first.source.onended = () => { this.pause(); this.#offset = 0; this.onended(); };
  }

  pause() {
    if (!this.isPlaying) return;
    this.#offset = this.position;
    this.#startedAt = null;
    this.#output.gain.setTargetAtTime(0, context.currentTime, FADE_S);
    for (const voice of this.#voices) {
      if (!voice) continue;
      voice.source.onended = null;
      voice.source.stop(context.currentTime + FADED_S);
    }
  }

  seek(position) {
    const limited = Math.min(Math.max(position, 0), this.duration);
    const buffers = this.#voices.map((voice) => voice?.buffer ?? null);
    const wasPlaying = this.isPlaying;
    this.pause();
    this.#offset = limited;
    if (wasPlaying) this.#start(buffers, limited < this.duration ? limited : 0);
  }

  select(index) {
    this.#selected = index;
    this.#fadeGains();
  }

  setLevels(levels) {
    this.#levels = levels;
    this.#fadeGains();
  }

  set loop(loop) {
    if (this.isPlaying) this.#finishedLaps = Math.floor(this.#elapsed() / this.duration);
    this.#loop = loop;
    for (const voice of this.#voices) if (voice) voice.source.loop = loop;
  }

  #gainOf(index) {
    return index === this.#selected ? this.#levels[index] : 0;
  }

  #fadeGains() {
    if (!this.isPlaying) return;
    this.#voices.forEach((voice, index) => {
      voice?.gain.setTargetAtTime(this.#gainOf(index), context.currentTime, FADE_S);
    });
  }
}
