/** Elements of the document: finding, making, and speaking to people through them. */

const SVG = "http://www.w3.org/2000/svg";
const PAUSE_MS = 2500;  // between texts for screen readers

const unsaid = new Map();  // texts by subject
let pause = null;

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);

/** Return a new HTML element. Attributes that are false or null are left out. */
export function create(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Return a new SVG element. */
export function createSvg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Show a message where its cause is. Errors are marked; an empty text clears the place. */
export function showMessage(id, text, isError = false) {
  const place = byId(id);
  place.textContent = text;
  place.classList.toggle("error", isError && text !== "");
}

/** Let screen readers say a text, in addition to what is visible. Until it is said, a newer one on its subject replaces it. */
export function announce(subject, text) {
  unsaid.set(subject, text);
  if (pause === null) say();
}

function say() {
  pause = unsaid.size ? setTimeout(say, PAUSE_MS) : null;
  if (unsaid.size) byId("live").textContent = [...unsaid.values()].join(" ");
  unsaid.clear();
}

/** Offer a blob as a download. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  create("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);  // the browser reads the blob after the click
}
