/** Undo and redo: snapshots of the preset that is shown. */

const SAME_EDIT_MS = 700;  // changes of one parameter that follow each other this fast are one step
const MOST_STEPS = 200;

export class Edits {
  #steps = [];
  #place = -1;
  #last = { name: null, at: 0 };

  /** Forget everything, and start from a snapshot. */
  start(snapshot) {
    this.#steps = [snapshot];
    this.#place = 0;
    this.#last = { name: null, at: 0 };
  }

  /** Add a snapshot. `name` is the parameter that changed, or null. */
  add(snapshot, name = null) {
    const now = performance.now();
    const isSame = name !== null && name === this.#last.name && now - this.#last.at < SAME_EDIT_MS && this.#place > 0;
    this.#steps.length = this.#place + (isSame ? 0 : 1);
    this.#steps.push(snapshot);
    if (this.#steps.length > MOST_STEPS) this.#steps.shift();
    this.#place = this.#steps.length - 1;
    this.#last = { name, at: now };
  }

  get current() {
    return this.#steps[this.#place];
  }

  get canUndo() {
    return this.#place > 0;
  }

  get canRedo() {
    return this.#place < this.#steps.length - 1;
  }

  /** Return the snapshot one step back (-1) or forward (1). */
  move(step) {
    this.#place += step;
    this.#last.name = null;
    return this.current;
  }
}
