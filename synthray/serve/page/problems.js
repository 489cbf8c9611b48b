/** What went wrong with sounds, files and links. Each problem is shown until its cause is gone. */

import { byId, create } from "./dom.js";

const problems = new Map();  // { text, name } by cause: a name, or the object that has the problem

/** Show what is wrong with a cause; an empty text says that nothing is, any more. */
export function showProblem(cause, text, name = "") {
  if (text) problems.set(cause, { text, name });
  else if (!problems.delete(cause)) return;
  show();
}

/** Forget what was wrong with files and links, because a person tries others. */
export function forgetProblems() {
  for (const cause of [...problems.keys()]) if (typeof cause === "string") problems.delete(cause);
  show();
}

function show() {
  const sentences = [...new Set([...problems.values()].map((problem) => problem.text))].map(inSentence);
  const place = byId("source-message");
  for (const line of [...place.children]) if (!sentences.includes(line.textContent)) line.remove();
  const shown = [...place.children].map((line) => line.textContent);  // is not read out again
  place.append(...sentences.filter((sentence) => !shown.includes(sentence)).map((sentence) => create("p", {}, sentence)));
}

/** Return a problem with the names of all that have it. */
function inSentence(text) {
  const names = [...problems.values()].filter((problem) => problem.text === text && problem.name).map(({ name }) => name);
  return names.length ? `${names.join(", ")}: ${text}` : text;
}
