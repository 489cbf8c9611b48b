/** The preset as a synthesizer's panel: groups of knobs and choices, with drawings and what can be heard. */

import { ChoiceControl } from "./choice.js";
import { byId, create, createSvg } from "./dom.js";
import { drawGroup, HEIGHT, WIDTH } from "./drawings.js";
import { Knob } from "./knob.js";
import { asTitle, constantsInWords, formatValue, groupOf, groups } from "./table.js";

const COLUMNS = { Sources: /^(oscillator|noise)/, Filter: /^filter/, "Pitch and level": /./ };

export class Panel {
  #controls = new Map();
  #drawings = new Map();
  #values = {};
  #facts = {};
  #explained = null;  // the parameter that the line at the panel's end is about

  /** `onInput(values, name)` is called for each change, `onCommit(name)` when one is complete. */
  constructor(table, { onInput, onCommit }) {
    this.table = table;
    this.onInput = onInput;
    this.onCommit = onCommit;
    const columns = Object.keys(COLUMNS).map((title) => create("section", { class: "column", "aria-label": title }));
    for (const [key, parameters] of groups(table)) {
      const place = Object.values(COLUMNS).findIndex((pattern) => pattern.test(key));
      columns[place].append(this.#group(key, parameters));
    }
    const constants = constantsInWords(table);
    const fixed = create("p", { class: "note fixed" }, `The same in all sounds: ${constants.join(", ")}.`);
    byId("groups").replaceChildren(...columns.filter((column) => column.children.length), ...(constants.length ? [fixed] : []));
  }

  /** Show values by name. `matched` are the values to return to; `facts` as in `showFacts`. */
  show(values, matched, facts) {
    this.#values = values;
    for (const [name, control] of this.#controls) control.show(values[name], matched[name]);
    for (const key of this.#drawings.keys()) this.#draw(key);
    this.showFacts(facts);
  }

  /** Show what is heard and how sure the match is, by name. */
  showFacts(facts) {
    this.#facts = facts;
    for (const [name, control] of this.#controls) this.#describe(control, facts[name] ?? {});
    this.#explain();
  }

  #group(key, parameters) {
    const path = createSvg("path", { "vector-effect": "non-scaling-stroke" });
    const view = { class: "drawing", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" };
    const title = create("h3", { id: `group-${key}` }, asTitle(key));
    this.#drawings.set(key, path);
    const controls = parameters.map((parameter) => this.#control(parameter));
    const choices = controls.filter((control) => control.choice);
    const knobs = controls.filter((control) => !control.choice);
    return create("div", { class: `group ${key}`, role: "group", "aria-labelledby": title.id },
      title, createSvg("svg", view, path),
      create("div", { class: "controls" },
        create("div", { class: "choices" }, ...choices.map(({ element }) => element)),
        create("div", { class: `knobs knobs-${knobs.length}` }, ...knobs.map(({ element }) => element))));
  }

  #control(parameter) {
    const { name } = parameter;
    const callbacks = { onInput: (value) => this.#change(name, value), onCommit: () => this.onCommit(name) };
    const control = parameter.kind === "choice" ? new ChoiceControl(parameter, callbacks) : new Knob(parameter, callbacks);
    this.#controls.set(name, control);
    for (const kind of ["focusin", "pointerenter"]) {
      control.element.addEventListener(kind, () => { this.#explained = parameter; this.#explain(); });
    }
    return control;
  }

  #change(name, value) {
    this.#values = { ...this.#values, [name]: value };
    this.#draw(groupOf(name));
    this.onInput(this.#values, name);
  }

  #draw(key) {
    this.#drawings.get(key).setAttribute("d", drawGroup(key, this.table, this.#values));
  }

  #describe(control, fact) {
    const isHeard = fact.audible !== false;
    control.element.classList.toggle("inaudible", !isHeard);
    control.sure.textContent = isHeard ? "" : "not heard";
    control.sure.dataset.sure = isHeard && fact.confidence !== undefined ? Math.ceil(fact.confidence * 4) : "";
    control.note.textContent = inSentences(fact);
  }

  /** Write about one parameter where it stays in sight. */
  #explain() {
    if (!this.#explained) return;
    const { name, description } = this.#explained;
    const value = formatValue(this.#explained, this.#values[name]);
    const title = create("b", {}, `${asTitle(name)}, ${value}`);
    byId("info").replaceChildren(title, `: ${description}. ${inSentences(this.#facts[name] ?? {})}`);
  }
}

function inSentences({ audible, why_inaudible: why, confidence }) {
  if (audible === false) return `Not heard${why ? `: ${why}` : ""}.`;
  return confidence === undefined ? "" : `The network is ${Math.round(confidence * 100)} % sure.`;
}
