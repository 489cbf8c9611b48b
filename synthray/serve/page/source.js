/** Where sounds come from: files that are chosen or dropped, and examples; and the field for the token. */

import { hooks } from "./api.js";
import { byId, showMessage } from "./dom.js";

/** Call `add(files)` for chosen or dropped files, and for examples. */
export function connectSource(add) {
  byId("files").addEventListener("change", ({ target }) => {
    if (target.files.length) add([...target.files]);
    target.value = "";  // the same file may be chosen again
  });
  connectDrop(byId("drop"), add);
  for (const button of byId("examples").querySelectorAll("button")) {
    button.addEventListener("click", () => addExample(button, add));
  }
}

function connectDrop(place, add) {
  for (const name of ["dragenter", "dragover"]) {
    place.addEventListener(name, (event) => { event.preventDefault(); place.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) place.addEventListener(name, () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) add([...event.dataTransfer.files]);
    else showMessage("source-message", "No file was dropped. Drop sound files, not links or text.", true);
  });
}

async function addExample(button, add) {
  try {
    const answer = await fetch(new URL(`examples/${button.dataset.file}`, import.meta.url));
    if (!answer.ok) throw new Error(`HTTP status ${answer.status}`);
    add([new File([await answer.blob()], button.textContent)]);
  } catch (error) {
    showMessage("source-message", `${button.textContent} could not be loaded (${error.message}). Try again.`, true);
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
  const text = wasWrong ? "The service did not accept the token. Enter it again." : "This service asks for a token. Enter it once for this session.";
  showMessage("source-message", text, true);
  form.hidden = false;
  byId("token").focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.hidden = true;
      showMessage("source-message", "");
      resolve(byId("token").value.trim());
      byId("token").value = "";
    }, { once: true });
  });
}
