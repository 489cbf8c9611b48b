/** Sound files as bytes, base64 and samples. */

export const RATE_HZ = 11025;  // of the instrument
const HEADER_BYTES = 44;

/** Return the bytes of a base64 text. */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Return a sound file's samples at the instrument's rate. */
export async function decode(bytes) {
  const buffer = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes.slice().buffer);
  return buffer.getChannelData(0);
}

/** Return a WAV file, mono, 16 bit, of samples in [-1, 1]. */
export function encodeWav(samples, rateHz) {
  const dataBytes = samples.length * 2;
  const view = new DataView(new ArrayBuffer(HEADER_BYTES + dataBytes));
  const text = (offset, letters) => [...letters].forEach((letter, i) => view.setUint8(offset + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, HEADER_BYTES - 8 + dataBytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);  // size of the format chunk
  view.setUint16(20, 1, true);  // PCM
  view.setUint16(22, 1, true);  // channels
  view.setUint32(24, rateHz, true);
  view.setUint32(28, rateHz * 2, true);  // bytes per second
  view.setUint16(32, 2, true);  // bytes per frame
  view.setUint16(34, 16, true);  // bits per sample
  text(36, "data");
  view.setUint32(40, dataBytes, true);
  samples.forEach((sample, i) => {
    view.setInt16(HEADER_BYTES + 2 * i, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true);
  });
  return new Blob([view.buffer], { type: "audio/wav" });
}
