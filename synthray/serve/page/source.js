/** Where sounds come from: files that are chosen or dropped, and examples; and the field for the token. */

import { hooks } from "./api.js";
import { byId } from "./dom.js";
import { showProblem } from "./problems.js";

/** Call `add(files)` for chosen or dropped files, and for examples. */
export function connectSource(add) {
  byId("files").addEventListener("change", ({ target }) => {
    if (target.files.length) add([...target.files]);
    target.value = "";  // the same file may be chosen again
  });
  connectDrop(add);
  for (const button of byId("examples").querySelectorAll("button")) {
    button.addEventListener("click", () => addExample(button, add));
  }
}

/** Accept drops on the whole page, because the browser would open a file that misses the drop area. */
function connectDrop(add) {
  const { classList } = byId("drop");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) add([...event.dataTransfer.files]);
    else showProblem("file", "No file was dropped. Drop sound files, not links or text.");
  });
}

async function addExample(button, add) {
  try {
    const answer = await fetch(new URL(`examples/${button.dataset.file}`, import.meta.url));
    if (!answer.ok) throw new Error(`HTTP status ${answer.status}`);
    add([new File([await answer.blob()], button.textContent)]);
  } catch (error) {
    showProblem("file", `${button.textContent} could not be loaded (${error.message}). Try again.`);
  }
}

/** Ask for the token when the service wants one; requests that wait share one answer. */
export function connectToken() {
  let asked = null;
  hooks.askToken = (wasWrong) => {
    asked ??= askOnce(wasWrong).finally(() => { asked = null; });
    return asked;
  };
}

function askOnce(wasWrong) {
  const form = byId("token-form");
  const text = wasWrong ? "The service did not accept the token. Enter it again." : "This service needs a token. Enter it below.";
  showProblem(form, text);
  form.hidden = false;
  byId("token").focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      const token = byId("token").value.trim();
      byId("token").value = "";
      const isAscii = /^[\x20-\x7e]+$/.test(token);  // a header can hold nothing else
      showProblem(form, isAscii ? "" : "A token holds only ASCII letters, digits and signs. Copy it again.");
      form.hidden = isAscii;
      if (isAscii) resolve(token);
    };
  });
}
