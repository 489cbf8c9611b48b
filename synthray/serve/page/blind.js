/** The blind test: names and pictures are hidden, and the two sounds are mixed. */

import { byId } from "./dom.js";

const LETTERS = ["A", "B"];

export class BlindTest {
  #order = [0, 1];
  #right = 0;
  #guesses = 0;
  #isAnswered = false;

  constructor(player) {
    this.player = player;
    byId("blind").addEventListener("change", () => this.#switch());
    byId("again").addEventListener("click", () => this.#mix());
    byId("reveal").addEventListener("click", () => this.#answer(null));
    for (const button of byId("guess").querySelectorAll("[data-guess]")) {
      button.addEventListener("click", () => this.#answer(Number(button.dataset.guess)));
    }
  }

  /** End the test, for example because another sound was chosen. */
  stop() {
    byId("blind").checked = false;
    this.#switch();
  }

  #switch() {
    const isOn = byId("blind").checked;
    byId("guess").hidden = !isOn;
    byId("scene").classList.toggle("blind", isOn);
    [this.#right, this.#guesses] = [0, 0];
    if (isOn) this.#mix();
    else this.player.setOrder([0, 1]);
  }

  #mix() {
    this.#order = Math.random() < 0.5 ? [0, 1] : [1, 0];
    this.#isAnswered = false;
    this.player.setOrder(this.#order, LETTERS);
    byId("verdict").textContent = "Mixed. Listen to A and B.";
  }

  #answer(guess) {
    const truth = this.#order.indexOf(0);
    const fact = `${LETTERS[truth]} is the original, ${LETTERS[1 - truth]} the match.`;
    if (guess === null || this.#isAnswered) {
      byId("verdict").textContent = fact;
    } else {
      this.#guesses += 1;
      this.#right += guess === truth;
      const word = guess === truth ? "Right" : "Wrong";
      byId("verdict").textContent = `${word}: ${fact} ${this.#right} of ${this.#guesses} right.`;
    }
    this.#isAnswered = true;
  }
}
