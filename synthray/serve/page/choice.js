/** A choice of the table as a group of radio buttons; waveforms are drawn. */

import { create, createSvg } from "./dom.js";
import { asTitle, shortName } from "./table.js";

const SHAPES = {
  sine: "M2 8c3-8 7-8 10 0s7 8 10 0",
  triangle: "M2 8l5-6 10 12 5-6",
  saw: "M2 8l10-6v12l10-6",
  square: "M2 8V2h10v12h10V8",
};

/** Radio buttons for a choice. `onInput(value)` is called for a change, then `onCommit()`. */
export class ChoiceControl {
  #matched = null;

  constructor(choice, { onInput, onCommit }) {
    Object.assign(this, { choice, onInput, onCommit });
    const note = `${choice.name}-note`;
    const isDrawn = choice.values.every((value) => value in SHAPES);
    this.radios = choice.values.map((value) => {
      const radio = create("input", { type: "radio", name: choice.name, value, id: `${choice.name}-${value}` });
      radio.addEventListener("change", () => { onInput(value); onCommit(); });
      return radio;
    });
    const options = this.radios.flatMap((radio) => {
      const text = isDrawn ? shape(radio.value) : [radio.value];
      return [radio, create("label", { for: radio.id, title: radio.value }, ...text)];
    });
    this.note = create("span", { class: "hidden", id: note });
    this.sure = create("span", { class: "sure", "aria-hidden": "true" });
    const legend = create("legend", { class: "hidden" }, asTitle(choice.name));
    const caption = create("span", { class: "label", "aria-hidden": "true" }, shortName(choice.name));
    const segments = create("div", { class: `segments segments-${options.length / 2}${isDrawn ? " drawn" : ""}` }, ...options);
    this.element = create("fieldset", { class: "control choice", "data-name": choice.name, "aria-describedby": note },
      legend, caption, segments, this.sure, this.note);
    this.element.addEventListener("keydown", (event) => this.#restore(event));
  }

  /** Show a value, and mark it if it is not the matched one. */
  show(value, matched) {
    this.#matched = matched;
    for (const radio of this.radios) {
      radio.checked = radio.value === value;
      radio.classList.toggle("matched", radio.value === matched);
    }
    this.element.classList.toggle("changed", matched !== null && matched !== value);
  }

  #restore(event) {
    if (event.key !== "Delete" && event.key !== "Backspace") return;
    const radio = this.radios.find(({ value }) => value === this.#matched);
    radio?.focus();
    radio?.click();
    event.preventDefault();
  }
}

function shape(name) {
  const drawing = createSvg("svg", { viewBox: "0 0 24 16", "aria-hidden": "true" }, createSvg("path", { d: SHAPES[name] }));
  return [drawing, create("span", { class: "hidden" }, name)];
}
