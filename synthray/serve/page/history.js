/** The history of the session: matches and changed presets that one can return to. */

import { byId, create } from "./dom.js";

/** Return the name of what a state shows. */
export const titleOf = (state) => state.sound?.name ?? state.title;

export class History {
  #entries = [];
  #current = null;

  /** `open(state)` shows an earlier state. */
  constructor(open) {
    this.open = open;
  }

  /** Add a state as the current entry. */
  add(state, detail, isChange = false) {
    const entry = { state, isChange };
    entry.figure = create("span", { class: "figure" });
    entry.detail = create("span", { class: "what" });
    entry.button = create("button", { type: "button", class: "entry" }, entry.detail, entry.figure, create("span", { class: "of" }, titleOf(state)));
    entry.button.addEventListener("click", () => this.open(entry.state));
    this.#entries.push(entry);
    byId("history").append(create("li", {}, entry.button));
    byId("history-empty").hidden = true;
    this.#mark(entry);
    this.#fill(entry, detail, state);
  }

  /** Note a changed preset: the current entry stands for all changes that follow each other. */
  noteChange(state, detail, isChanged) {
    const isMatch = (entry) => !isChanged && !entry.isChange && entry.state.matched === state.matched;
    const same = this.#entryOf(state) ?? this.#entries.findLast(isMatch);
    if (same) this.#mark(same);
    else if (this.#current?.isChange && this.#current.state.matched === state.matched) this.#fill(this.#current, detail, state);
    else this.add(state, detail, true);
  }

  /** Mark the entry of a state that is opened, if it has one. */
  showOpen(state) {
    const entry = this.#entryOf(state);
    if (entry) this.#mark(entry);
  }

  /** Show the distance of a state that was rendered after it was noted. */
  showDistance(state) {
    const entry = this.#entryOf(state);
    if (!entry) return;
    Object.assign(entry.state, { facts: state.facts, distance: state.distance });
    entry.figure.textContent = inDecibels(state.distance);
  }

  #entryOf(state) {
    return this.#entries.findLast((entry) => entry.state.values === state.values);
  }

  #fill(entry, detail, state) {
    entry.state = state;
    entry.detail.textContent = detail;
    entry.figure.textContent = inDecibels(state.distance);
  }

  #mark(entry) {
    this.#current?.button.removeAttribute("aria-current");
    entry.button.setAttribute("aria-current", "true");
    this.#current = entry;
    const list = byId("history");
    list.scrollTop = Math.max(0, entry.button.offsetTop - list.offsetTop - list.clientHeight / 2);
  }
}

const inDecibels = (distance) => (distance === null ? "" : `${distance.toFixed(2)} dB`);
