/** Sounds that play together and start at the same sample. Only their gains change, so a switch keeps the position. */

const FADE_S = 0.005;  // time constant
const FADED_S = 10 * FADE_S;
const LEAD_S = 0.03;  // sources that start in the past would each start when they are ready, not together

let context = null;  // made by the first click, because browsers refuse sound before it

/** Return samples as a buffer for `Transport`, at the loudspeaker's rate. */
async function toBuffer(bytes) {
  return context.decodeAudioData(bytes.slice().buffer);
}

/**
 * Return a signal that drives two gains, of which either may be missing: the second is `share`, the first is the rest.
 * They add up to 1 even on a busy machine, where two commands take effect at different moments.
 */
function fader(first, second, share) {
  const signal = new ConstantSourceNode(context, { offset: share });
  if (first) signal.connect(new GainNode(context, { gain: -1 })).connect(first.gain);  // whose own value is 1
  if (second) signal.connect(second.gain);  // whose own value is 0
  signal.start();
  return signal;
}

function stopVoice(voice, when) {
  if (!voice) return;
  voice.source.onended = null;
  voice.source.stop(when);
  voice.fader?.stop(when);
}

/** A transport for two sounds. `onended` is called when a sound without a loop has ended. */
export class Transport {
  #files = [null, null];  // bytes of sound files
  #voices = [null, null];  // { source, gain, buffer, fader } while playing
  #channels = [];  // gain nodes { choice, level } of the sounds while playing
  #fader = null;  // between the sounds
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
    this.#channels = this.#levels.map((gain, index) => {
      const choice = new GainNode(context, { gain: 1 - index });
      const level = new GainNode(context, { gain });
      choice.connect(level).connect(this.#output);
      return { choice, level };
    });
    this.#fader = fader(this.#channels[0].choice, this.#channels[1].choice, this.#selected);
    this.#voices = buffers.map((buffer, index) => this.#voice(index, buffer, this.#startedAt, offset, 1));
    this.#watchEnd();
  }

  #voice(index, buffer, when, offset, gain) {
    if (!buffer) return null;
    const voice = {
      source: new AudioBufferSourceNode(context, { buffer, loop: this.#loop }),
      gain: new GainNode(context, { gain }),
      buffer,
      fader: null,
    };
    voice.source.connect(voice.gain).connect(this.#channels[index].choice);
    voice.source.start(when, offset);
    return voice;
  }

  #replace(index, buffer) {
    const when = context.currentTime + LEAD_S;
    const offset = (this.position + Math.max(0, when - Math.max(this.#startedAt, context.currentTime))) % this.duration;
    const old = this.#voices[index];
    const voice = this.#voice(index, buffer, when, offset, 0);
    const signal = fader(old?.gain, voice?.gain, 0);
    signal.offset.setTargetAtTime(1, when, FADE_S);
    stopVoice(old, when + FADED_S);
    if (voice) voice.fader = signal;
    this.#voices[index] = voice;
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
    for (const voice of this.#voices) stopVoice(voice, context.currentTime + FADED_S);
    this.#fader.stop(context.currentTime + FADED_S);
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
    if (this.isPlaying) this.#fader.offset.setTargetAtTime(index, context.currentTime, FADE_S);
  }

  setLevels(levels) {
    this.#levels = levels;
    if (!this.isPlaying) return;
    this.#channels.forEach(({ level }, index) => level.gain.setTargetAtTime(levels[index], context.currentTime, FADE_S));
  }

  set loop(loop) {
    if (this.isPlaying) this.#finishedLaps = Math.floor(this.#elapsed() / this.duration);
    this.#loop = loop;
    for (const voice of this.#voices) if (voice) voice.source.loop = loop;
  }
}
