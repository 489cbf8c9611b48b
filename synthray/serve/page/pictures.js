/** The pictures of both sounds: waveforms, spectrograms on one scale, and their difference. */

import { byId } from "./dom.js";
import { analyse, clear, drawDifference, drawLevels, loudest } from "./spectrogram.js";
import { drawWaveforms } from "./waveform.js";

export class Pictures {
  #samples = [null, null];
  #analyses = [null, null];
  #isDue = false;
  #canvases = [...byId("pictures").querySelectorAll("canvas")];

  constructor() {
    const redraw = () => this.#schedule();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new ResizeObserver(redraw).observe(byId("waveform"));
  }

  /** Set the samples of the original (0) or the match (1), or null. */
  setSound(index, samples) {
    this.#samples[index] = samples;
    this.#analyses[index] = samples && analyse(samples);
    this.#schedule();
  }

  #schedule() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => { this.#isDue = false; this.#draw(); });
  }

  #draw() {
    drawWaveforms(byId("waveform").querySelector("canvas"), this.#samples);
    const present = this.#analyses.filter(Boolean);
    const top = present.length ? loudest(present) : 0;
    this.#analyses.forEach((levels, i) => {
      if (levels) drawLevels(this.#canvases[i], levels, top);
      else clear(this.#canvases[i]);
    });
    if (present.length === 2) drawDifference(this.#canvases[2], ...present, top);
    else clear(this.#canvases[2]);
  }
}
