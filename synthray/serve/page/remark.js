/** A remark beside the field that it is about. There is one at a time, until a person goes on. */

import { announce, create } from "./dom.js";

const box = create("p", { class: "remark", id: "remark" });
let described = null;

document.addEventListener("pointerdown", hideRemark);
document.addEventListener("keydown", ({ key }) => { if (key === "Escape") hideRemark(); });

/** Show a text in `place`, as the description of `field`, and let screen readers say it. */
export function showRemark(place, field, text) {
  hideRemark();
  described = field;
  field.setAttribute("aria-describedby", box.id);
  box.textContent = text;
  place.append(box);
  box.scrollIntoView({ block: "nearest" });
  announce("remark", text);
}

export function hideRemark() {
  described?.removeAttribute("aria-describedby");
  described = null;
  box.remove();
}
