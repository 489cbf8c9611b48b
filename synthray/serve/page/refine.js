/** The search for a closer match: start, progress, stop. Each improvement is shown while the search goes on. */

import { refineSound, ServiceError } from "./api.js";
import { announce, byId, showMessage } from "./dom.js";
import { readEvents } from "./sse.js";

export class Refinement {
  #abort = null;
  #timer = null;
  #improvements = 0;

  /** `improve(answer, signal)` shows an answer if it is closer, `finish(detail)` records the last one that was shown. */
  constructor({ getState, improve, finish }) {
    Object.assign(this, { getState, improve, finish });
    byId("refine").addEventListener("submit", (event) => { event.preventDefault(); this.#start(); });
    byId("refine-stop").addEventListener("click", () => this.stop("Stopped."));
  }

  /** Offer searches of at most `longest` seconds. */
  limit(longest) {
    let previous = null;
    for (const option of byId("refine").elements.seconds) {
      const [label] = option.labels;
      option.value = Math.min(Number(option.value), longest);
      label.textContent = `${option.value} s`;
      option.disabled = label.hidden = option.value === previous?.value;
      if (!option.disabled) previous = option;
      else if (option.checked) previous.checked = true;
    }
    byId("refine").hidden = longest === 0;
  }

  /** Say whether the sound that is open can be searched for. */
  enable(state) {
    byId("refine-seconds").disabled = !state.sound;
    byId("refine-progress").value = 0;
    showMessage("refine-message", state.sound ? "" : "This preset has no original to search for.");
  }

  /** Stop the search; the last improvement stays. */
  stop(text) {
    if (!this.#abort) return;
    say(text);
    this.#abort.abort();
    this.#end("searched, then stopped");
  }

  #end(detail) {
    this.#abort = null;
    if (this.#improvements) this.finish(detail);
    this.#showRunning(false);
  }

  async #start() {
    if (this.#abort) return;  // Enter submits the form during a search, too
    const seconds = new FormData(byId("refine")).get("seconds");
    const { sound, values, distance } = this.getState();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#improvements = 0;
    let last = null;
    this.#showRunning(true);
    say(`Searching for ${seconds} s \u2026`);
    try {
      const response = await refineSound(sound.file, values, seconds, signal);
      for await (const { event, data } of readEvents(response)) {
        if (event === "error") throw new ServiceError(data.error);
        if (last === null) this.#showTime(seconds);
        last = event;
        const isShown = await this.improve(data, signal);
        if (signal.aborted) return;
        if (!isShown) continue;
        this.#improvements += 1;
        this.#showDistance("Searching", distance);
      }
      if (last !== "match") throw new ServiceError("The search ended early. Try again.");
      if (this.#improvements) this.#showDistance("Done", distance);
      else say(`Done: no match is closer than ${this.getState().distance.toFixed(2)} dB`);
    } catch (error) {
      if (signal.aborted) return;
      say(error.message, true);
    }
    this.#end(`searched for ${seconds} s`);
  }

  #showRunning(isRunning) {
    const hadFocus = byId("refine").contains(document.activeElement);
    byId("refine-start").hidden = isRunning;
    byId("refine-stop").hidden = !isRunning;
    clearInterval(this.#timer);
    byId("refine-progress").value = 0;
    if (hadFocus) byId(isRunning ? "refine-stop" : "refine-start").focus();
  }

  /** Show the share of the time that is spent. It runs from the first answer on, because a busy service may start later. */
  #showTime(seconds) {
    const startedMs = performance.now();
    this.#timer = setInterval(() => {
      byId("refine-progress").value = (performance.now() - startedMs) / (seconds * 1000);
    }, 100);
  }

  #showDistance(word, before) {
    const { distance } = this.getState();
    const from = before === null ? "" : `${before.toFixed(2)} \u2192 `;
    say(`${word}: ${from}${distance.toFixed(2)} dB`);
  }
}

function say(text, isError = false) {
  showMessage("refine-message", text, isError);
  announce("search", text.replace("\u2192", "to").replace(/ dB$/, " decibels"));
}
