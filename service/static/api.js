// The public HTTP API as the page uses it: nothing here is special to the page.

const KEY = "mlpq-key"; // kept for this tab only
const RETRY_MS = 1000;
const TRIES = 3; // of a question that finds the store away for a moment

export class Problem extends Error {
  constructor(body, status) {
    super(body.detail || body.title || `HTTP ${status}`);
    this.errors = body.errors || [];
    this.status = status;
  }
}

export const keepKey = (key) => sessionStorage.setItem(KEY, key);
export const hasKey = () => sessionStorage.getItem(KEY) !== null;

function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// A store that was busy (503) is asked again; a POST has one key for all its tries, so that it is done once.
export async function call(path, { method = "GET", body, signal } = {}) {
  const headers = { Accept: "application/json", ...authorization() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method === "POST") headers["Idempotency-Key"] = crypto.getRandomValues(new Uint32Array(4)).join("-");
  for (let left = TRIES - 1; ; left -= 1) {
    try { return await once(path, { method, headers, body, signal }); } catch (error) {
      if (!left || error.status !== 503 || signal?.aborted) throw error;
    }
    await pause(RETRY_MS);
  }
}

async function once(path, { method, headers, body, signal }) {
  const answer = await reached(fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) }), signal);
  const text = await reached(answer.text(), signal);
  if (!answer.ok) throw new Problem(problemOf(text), answer.status);
  return text ? JSON.parse(text) : null;
}

// A lost connection as a problem of status 0.
function reached(promise, signal) {
  return promise.catch((error) => { throw signal?.aborted ? error : new Problem({ detail: "the service cannot be reached" }, 0); });
}

// What a refusal says of itself; a proxy before the service may answer with anything.
function problemOf(text) {
  try { return JSON.parse(text) || {}; } catch { return {}; }
}

// Post a form, telling the share of it that was sent: fetch cannot.
export function send(path, form, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
    request.onerror = () => reject(new Problem({ detail: "the connection was lost; nothing was kept of the files" }, 0));
    request.onload = () =>
      request.status < 300 ? resolve(request.response) : reject(new Problem(request.response || {}, request.status));
    request.send(form);
  });
}

// Ask again and again until the service answers: a lost connection delays an answer, but does not lose it. What the
// service refuses (4xx) is thrown; after `signal` aborts the promise stays pending, for nobody waits any more.
export async function answered(path, signal) {
  for (;;) {
    try {
      const answer = await call(path, { signal });
      if (!signal.aborted) return answer;
    } catch (error) {
      if (error instanceof Problem && error.status >= 400 && error.status < 500) throw error;
    }
    if (signal.aborted) return new Promise(() => {});
    await pause(RETRY_MS);
  }
}

const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

// A picture as an address that an <img> can show; a busy service is asked again. <img> itself cannot send a key.
export async function picture(path, signal) {
  for (;;) {
    const answer = await fetch(path, { headers: { Accept: "image/png", ...authorization() }, signal });
    if (answer.ok) return URL.createObjectURL(await answer.blob());
    if (answer.status !== 429 && answer.status !== 503) throw new Problem(await answer.json(), answer.status);
    await pause(RETRY_MS);
  }
}

// Save an answer as a file, under the name the service gives it.
export async function download(path) {
  const answer = await reached(fetch(path, { headers: authorization() }));
  if (!answer.ok) throw new Problem(problemOf(await answer.text()), answer.status);
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") || "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await reached(answer.blob()));
  link.download = name ? name[1] : "download";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
}

// Events of a stream of server-sent events, from its text as it arrives in parts.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split("\n")) {
        const cut = line.indexOf(": ");
        if (cut > 0) event[line.slice(0, cut)] = line.slice(cut + 2);
      }
      if (event.event) yield event;
    }
  }
}

// Follow the events of some jobs until `stop()`; reconnects with Last-Event-ID, so nothing is missed or repeated.
// EventSource would do the same, but cannot send a key. A refusal (4xx), as of a job that was deleted, is the last answer.
export function follow(path, handlers, onState) {
  const abort = new AbortController();
  let last = null;
  (async () => {
    while (!abort.signal.aborted) {
      try {
        const headers = { Accept: "text/event-stream", ...authorization(), ...(last === null ? {} : { "Last-Event-ID": last }) };
        const answer = await fetch(path, { headers, signal: abort.signal });
        if (answer.status === 204) return;
        if (!answer.ok) throw new Problem(await answer.json(), answer.status);
        onState(true);
        for await (const event of events(answer.body)) {
          if (event.id !== undefined) last = event.id;
          handlers[event.event]?.(JSON.parse(event.data), event.id);
        }
      } catch (error) {
        if (abort.signal.aborted) return;
        const refused = error instanceof Problem && error.status >= 400 && error.status < 500;
        onState(refused);
        if (refused) {
          handlers.refused?.(error);
          return;
        }
      }
      await pause(RETRY_MS);
    }
  })();
  return () => abort.abort();
}
