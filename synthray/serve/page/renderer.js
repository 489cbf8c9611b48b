/** Rendering of presets while knobs turn: one request at a time, and after it only the newest preset. */

import { renderPreset } from "./api.js";

export class Renderer {
  #next = null;
  #running = null;  // promise of the requests in progress
  #abort = null;

  /** `onAnswer(answer, state)` and `onError(error)` are called for the newest state. */
  constructor({ onAnswer, onError }) {
    Object.assign(this, { onAnswer, onError });
  }

  /** Render the values of a state, and compare with its original if it has one. */
  request(state) {
    this.#next = state;
    this.#running ??= this.#run().finally(() => { this.#running = null; });
  }

  /** Forget what was requested, because something else is shown. */
  cancel() {
    this.#next = null;
    this.#abort?.abort();
  }

  /** Return a promise that resolves when nothing is being rendered. */
  settled() {
    return this.#running ?? Promise.resolve();
  }

  async #run() {
    while (this.#next) {
      const state = this.#next;
      this.#next = null;
      this.#abort = new AbortController();
      try {
        const answer = await renderPreset(state.values, state.original?.base64, this.#abort.signal);
        if (!this.#abort.signal.aborted) await this.onAnswer(answer, state);
      } catch (error) {
        if (error.name !== "AbortError") this.onError(error);
      }
    }
  }
}
