/** Requests to the service: waiting while it is busy, the token, and errors in words. */

const BASE = new URL("../v1/models/synthray", import.meta.url).href;
const LARGEST_WAIT_S = 30;
const TOKEN_KEY = "synthray-token";
const FIRST_SEARCH_S = 0.3;

// Known once the metadata are read.
let largestBody = Infinity;  // bytes
let firstSearch = 0;  // seconds of search for the first match of a sound, which a person hardly waits for

/** A failed request; the message is for people. */
export class ServiceError extends Error {}

/**
 * Callbacks that the page sets. `wait(reason, seconds, signal)` resolves when it is time for the next try, to false if
 * there shall be none. `askToken(wasWrong)` resolves to a token.
 */
export const hooks = { wait: async () => false, askToken: async () => null };

/** Return what the service says of its model and limits: the table of parameters, and the longest search in seconds. */
export async function readMetadata() {
  const { metadata } = await (await request("/metadata", {})).json();
  const { parameters, max_refine_s: longestSearch } = metadata.synthray;
  largestBody = metadata.synthray.max_body_bytes;
  firstSearch = Math.min(FIRST_SEARCH_S, longestSearch);
  return { table: parameters, longestSearch };
}

/** Match a sound file; return the service's answer with both sounds. */
export async function matchSound(file, signal) {
  if (file.size > largestBody) throw new ServiceError(tooLarge(file.size));
  const headers = { "Content-Type": "application/octet-stream", Accept: "application/json" };
  return (await request(`:match?refine=${firstSearch}&include=sounds`, { method: "POST", body: file, signal, headers })).json();
}

/** Search from a preset for some seconds; return the response, which is a stream of events. */
export function refineSound(file, parameters, seconds, signal) {
  const body = new FormData();  // whose content type the browser writes
  body.append("file", file, "sound");
  body.append("start", JSON.stringify({ parameters }));
  return request(`:match?refine=${seconds}&include=sounds`, { method: "POST", body, signal, headers: { Accept: "text/event-stream" } });
}

/** Render values by name; return the preset, the distance to the target (if any) and the sound. */
export async function renderPreset(parameters, target, signal) {
  const body = JSON.stringify(target ? { parameters, target } : { parameters });
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  return (await request(":render", { method: "POST", body, signal, headers })).json();
}

async function request(path, options) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await send(path, options);
    if (answer.ok) return answer;
    if (answer.status === 401 && (await askToken())) continue;
    if (answer.status !== 429 && answer.status !== 503) throw new ServiceError(await reason(answer));
    await waitFor(answer, attempt, options.signal);
  }
}

async function send(path, { headers = {}, ...options }) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const authorization = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    return await fetch(BASE + path, { ...options, headers: { ...headers, ...authorization } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service cannot be reached. Check that it runs and that you are online, then try again.");
  }
}

async function askToken() {
  const token = await hooks.askToken(sessionStorage.getItem(TOKEN_KEY) !== null);
  if (token) sessionStorage.setItem(TOKEN_KEY, token);
  return Boolean(token);
}

async function reason(answer) {
  const { error } = await answer.json().catch(() => ({}));
  return error || `The service answered with HTTP status ${answer.status}.`;
}

async function waitFor(answer, attempt, signal) {
  const asked = Number(answer.headers.get("Retry-After")) || 2 ** (attempt - 1);
  const state = answer.status === 503 ? "not ready" : "busy";
  const goesOn = await hooks.wait(`The service is ${state}.`, Math.min(asked, LARGEST_WAIT_S), signal);
  signal?.throwIfAborted();
  if (!goesOn) throw new ServiceError(`Cancelled, because the service was ${state}. Try again later.`);
}

function tooLarge(bytes) {
  const [size, limit] = [Math.ceil(bytes / 1e5) / 10, Math.floor(largestBody / 1e5) / 10];
  return `${size} MB is too large; the limit is ${limit} MB. Save a shorter part: only the first 2 s of the sound are matched.`;
}
