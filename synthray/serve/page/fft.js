/** The fast Fourier transform of real blocks (radix 2) with a Hann window. */

/** Return a function from samples and a start to the magnitudes of `size / 2` bins; a full-scale sine gives 1. */
export function spectrumOf(size) {
  const bits = Math.log2(size);
  const window = Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
  const cos = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
  const sin = Float64Array.from({ length: size / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / size));
  const reversed = Uint32Array.from({ length: size }, (_, i) => reverseBits(i, bits));
  const [re, im] = [new Float64Array(size), new Float64Array(size)];

  return (samples, start) => {
    im.fill(0);
    for (let i = 0; i < size; i += 1) re[reversed[i]] = (samples[start + i] ?? 0) * window[i];
    for (let half = 1; half < size; half *= 2) butterflies(re, im, cos, sin, half);
    return Float32Array.from({ length: size / 2 }, (_, i) => (4 / size) * Math.hypot(re[i], im[i]));
  };
}

function butterflies(re, im, cos, sin, half) {
  const size = re.length;
  const stride = size / (2 * half);
  for (let block = 0; block < size; block += 2 * half) {
    for (let k = 0; k < half; k += 1) {
      const i = block + k;
      const j = i + half;
      const c = cos[k * stride];
      const s = sin[k * stride];
      const tr = re[j] * c - im[j] * s;
      const ti = re[j] * s + im[j] * c;
      re[j] = re[i] - tr;
      im[j] = im[i] - ti;
      re[i] += tr;
      im[i] += ti;
    }
  }
}

function reverseBits(value, bits) {
  let result = 0;
  for (let bit = 0; bit < bits; bit += 1) if (value & (1 << bit)) result |= 1 << (bits - 1 - bit);
  return result;
}
