/** The search for a closer match: start, progress, stop. Each improvement is shown while the search goes on. */

import { refineSound, ServiceError } from "./api.js";
import { byId, showMessage } from "./dom.js";
import { readEvents } from "./sse.js";

export class Refinement {
  #abort = null;

  /** `improve(answer)` shows an answer, `finish(detail)` records the last one. */
  constructor({ getState, improve, finish }) {
    Object.assign(this, { getState, improve, finish });
    byId("refine").addEventListener("submit", (event) => { event.preventDefault(); this.#start(); });
    byId("refine-stop").addEventListener("click", () => this.stop("Stopped."));
  }

  get isRunning() {
    return this.#abort !== null;
  }

  /** Say whether the sound that is open can be searched for. */
  enable(state) {
    byId("refine-seconds").disabled = !state.sound;
    byId("refine-progress").value = 0;
    showMessage("refine-message", state.sound ? "" : "A preset from a link has no original to search for.");
  }

  /** Stop the search; the last improvement stays. */
  stop(text) {
    if (!this.#abort) return;
    this.#abort.abort(text);
  }

  async #start() {
    const seconds = new FormData(byId("refine")).get("seconds");
    const { sound, distance } = this.getState();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    let improvements = 0;
    this.#showRunning(true);
    showMessage("refine-message", `Searching for ${seconds} s \u2026`);
    try {
      const response = await refineSound(sound.file, seconds, signal);
      for await (const { event, data } of readEvents(response)) {
        if (signal.aborted) break;
        if (event === "error") throw new ServiceError(data.error);
        await this.improve(data);
        improvements += 1;
        this.#showProgress(event === "match" ? 1 : data.progress, distance);
      }
      if (!signal.aborted) this.#showProgress(1, distance);
    } catch (error) {
      if (!signal.aborted) showMessage("refine-message", error.message, true);
    }
    if (signal.aborted) showMessage("refine-message", signal.reason);
    if (improvements) this.finish(`searched ${signal.aborted ? "up to " : ""}${seconds} s`);
    this.#abort = null;
    this.#showRunning(false);
  }

  #showRunning(isRunning) {
    const hadFocus = byId("refine").contains(document.activeElement);
    byId("refine-start").hidden = isRunning;
    byId("refine-stop").hidden = !isRunning;
    if (!isRunning) byId("refine-progress").value = 0;
    if (hadFocus) byId(isRunning ? "refine-stop" : "refine-start").focus();
  }

  #showProgress(share, before) {
    byId("refine-progress").value = share;
    const { distance } = this.getState();
    const word = share < 1 ? "Searching" : "Done";
    showMessage("refine-message", `${word}: ${before.toFixed(2)} \u2192 ${distance.toFixed(2)} dB`);
  }
}
