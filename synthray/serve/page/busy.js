/** The notice while the service is busy: the seconds until the next try, and a button that gives up. */

import { hooks } from "./api.js";
import { announce, byId } from "./dom.js";

const TICK_MS = 200;
const waits = new Set();  // { reason, endMs, finish } of the requests that wait

/** Let requests wait with a notice. Call once. */
export function connectBusy() {
  hooks.wait = wait;
  byId("busy-cancel").addEventListener("click", () => waits.forEach(({ finish }) => finish(false)));
}

/** Resolve to true after some seconds or once the signal is aborted, to false if a person gives up. */
function wait(reason, seconds, signal) {
  return new Promise((resolve) => {
    const entry = { reason, endMs: performance.now() + seconds * 1000 };
    const abort = () => entry.finish(true);
    const timer = setTimeout(abort, seconds * 1000);
    const ticker = setInterval(show, TICK_MS);
    entry.finish = (goesOn) => {
      clearTimeout(timer);
      clearInterval(ticker);
      signal?.removeEventListener("abort", abort);
      waits.delete(entry);
      show();
      resolve(goesOn);
    };
    signal?.addEventListener("abort", abort);
    waits.add(entry);
    show();
    announce("service", sentence(entry));
  });
}

function show() {
  const next = [...waits].sort((a, b) => a.endMs - b.endMs)[0];
  byId("busy").hidden = !next;
  byId("busy-text").textContent = next ? sentence(next) : "";
}

function sentence({ reason, endMs }) {
  return `${reason} Next try in ${Math.max(1, Math.ceil((endMs - performance.now()) / 1000))} s.`;
}
