/** A knob: a real range input under a drawing, with a field for typing. */

import { create, createSvg } from "./dom.js";
import { hideRemark, showRemark } from "./remark.js";
import { asTitle, formatNumber, formatValue, fromPosition, numSteps, shortName, shortUnit, toPosition } from "./table.js";
import { readTyped } from "./typed.js";

const STEPS = 1000;  // of a range that has every value
const DRAG_PX = 180;  // for the whole range
const FINE = 0.1;
const KEY_STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -1000, End: 1000 };
const TURN_DEGREES = 270;
const RADIUS = 19;
const CENTRE = 24;

/**
 * A knob for a range of the table. `onInput(value)` is called for each change, `onCommit()` when a change is complete.
 */
export class Knob {
  #value = 0;
  #matched = null;
  #drag = null;
  #isChanged = false;  // since the last commit

  constructor(range, { onInput, onCommit }) {
    Object.assign(this, { range, onInput, onCommit });
    const title = asTitle(range.name);
    const steps = numSteps(range) || STEPS;
    const note = `${range.name}-note`;
    this.slider = create("input", { type: "range", min: 0, max: steps, step: 1, "aria-label": title, "aria-describedby": note });
    this.field = create("input", {
      type: "text", inputmode: "text", autocomplete: "off", spellcheck: "false", "aria-label": `${title}, value in ${range.unit || "numbers"}`,
    });
    this.hand = createSvg("path", { class: "hand" });
    this.arc = createSvg("path", { class: "arc" });
    this.tick = createSvg("path", { class: "tick" });
    const track = createSvg("path", { class: "track", d: arc(0, 1) });
    const svg = createSvg("svg", { viewBox: "0 0 48 48", "aria-hidden": "true" }, track, this.arc, this.tick, this.hand);
    this.dial = create("div", { class: "dial" }, svg, this.slider);
    this.note = create("span", { class: "hidden", id: note });
    this.sure = create("span", { class: "sure", "aria-hidden": "true" });
    this.place = create("span", { class: "place" });  // of remarks
    this.element = create("div", { class: "control knob", "data-name": range.name },
      create("span", { class: "label", "aria-hidden": "true" }, shortName(range.name)), this.dial,
      create("span", { class: "typed" }, this.field, create("span", { class: "unit", "aria-hidden": "true" }, shortUnit(range))),
      this.place, this.sure, this.note);
    this.#listen();
  }

  /** Show a value, and the matched value as a tick. */
  show(value, matched) {
    this.#matched = matched;
    this.#set(value);
  }

  #listen() {
    this.slider.addEventListener("input", () => this.#change(fromPosition(this.range, this.slider.value / this.slider.max)));
    this.slider.addEventListener("change", () => this.#commit());
    this.slider.addEventListener("keydown", (event) => this.#steer(event));
    this.dial.addEventListener("pointerdown", (event) => this.#grab(event));
    this.dial.addEventListener("dblclick", () => this.#restore());
    this.field.addEventListener("change", () => this.#read());
    this.field.addEventListener("input", () => { hideRemark(); this.#fit(); });
    this.field.addEventListener("keydown", ({ key }) => { if (key === "Escape") this.#leave(); });
    this.field.addEventListener("focus", () => this.field.select());
    this.field.addEventListener("blur", () => this.#showNumber());
  }

  #set(value) {
    this.#value = value;
    const position = toPosition(this.range, value);
    const zero = this.range.minimum < 0 && this.range.maximum > 0 ? toPosition(this.range, 0) : 0;
    this.slider.value = Math.round(position * this.slider.max);
    this.slider.setAttribute("aria-valuetext", formatValue(this.range, value));
    if (this.field !== document.activeElement) this.#showNumber();  // keep what is being typed
    this.arc.setAttribute("d", arc(Math.min(zero, position), Math.max(zero, position)));
    this.hand.setAttribute("d", ray(position, 6, 14));
    this.tick.setAttribute("d", this.#matched === null ? "" : ray(toPosition(this.range, this.#matched), 21, 24));
    this.element.classList.toggle("changed", this.#matched !== null && this.#matched !== value);
  }

  #change(value) {
    if (value === this.#value) return;
    hideRemark();
    this.#isChanged = true;
    this.#set(value);
    this.onInput(value);
  }

  #commit() {
    if (this.#isChanged) this.onCommit();
    this.#isChanged = false;
  }

  #restore() {
    if (this.#matched === null) return;
    this.#change(this.#matched);
    this.#commit();
  }

  /** Take over what was typed, or say why not. */
  #read() {
    const { value, remark } = readTyped(this.range, this.field.value);
    if (value !== null) this.#change(value);
    this.#showNumber();
    this.#commit();
    const kept = value === null ? ` The value stays ${formatValue(this.range, this.#value)}.` : "";
    if (remark) showRemark(this.place, this.field, `${asTitle(this.range.name)}: ${remark}${kept}`);
  }

  /** Forget what was typed. */
  #leave() {
    this.#showNumber();
    this.field.select();
  }

  #showNumber() {
    this.field.value = formatNumber(this.range, this.#value);
    this.#fit();
  }

  /** Make the field as wide as its text, so that number and unit are centred together. */
  #fit() {
    this.field.style.width = `${Math.max(3, this.field.value.length) + 0.9}ch`;
  }

  #steer(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Delete" || event.key === "Backspace") {
      this.#restore();
    } else if (event.key in KEY_STEPS) {
      const steps = numSteps(this.range);
      const step = steps ? 1 / steps : (event.shiftKey ? FINE : 1) / 100;
      this.#change(fromPosition(this.range, toPosition(this.range, this.#value) + KEY_STEPS[event.key] * step));
      this.#commit();
    } else return;
    event.preventDefault();
  }

  #grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();  // the range input would move by itself
    this.slider.focus({ preventScroll: true });
    this.#drag = { x: event.clientX, y: event.clientY, position: toPosition(this.range, this.#value) };
    this.dial.setPointerCapture(event.pointerId);
    const move = (moved) => this.#turn(moved);
    const finish = () => {
      this.dial.removeEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel"]) this.dial.removeEventListener(name, finish);
      this.#commit();
    };
    this.dial.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) this.dial.addEventListener(name, finish);
  }

  #turn(event) {
    const drag = this.#drag;
    const upwards = event.pointerType === "touch" ? 0 : drag.y - event.clientY;  // a vertical touch scrolls the page
    const speed = (event.shiftKey ? FINE : 1) / DRAG_PX;
    drag.position = Math.min(1, Math.max(0, drag.position + (event.clientX - drag.x + upwards) * speed));
    [drag.x, drag.y] = [event.clientX, event.clientY];
    this.#change(fromPosition(this.range, drag.position));
  }
}

function point(position, radius) {
  const angle = ((position - 0.5) * TURN_DEGREES * Math.PI) / 180;
  return [CENTRE + radius * Math.sin(angle), CENTRE - radius * Math.cos(angle)].map((number) => number.toFixed(2));
}

function arc(from, to) {
  const isLarge = (to - from) * TURN_DEGREES > 180 ? 1 : 0;
  return `M${point(from, RADIUS)}A${RADIUS} ${RADIUS} 0 ${isLarge} 1 ${point(to, RADIUS)}`;
}

function ray(position, from, to) {
  return `M${point(position, from)}L${point(position, to)}`;
}
