/**
 * What happens while the page is open, by server-sent events.
 *
 * Contract
 *   <body data-live="URL" data-counts="URL">   the stream, and the same as one JSON answer: what `queue` would say now
 *   #new       link, hidden: "3 nouvelles alertes – afficher"; a click (or `r`) refreshes the list, by htmx or by its href
 *   #lost      hidden: "Connexion perdue depuis 0:23", counted from the last that was heard: so old is what is shown
 *   #link      hidden: the state of the connection in the top bar, data-state = live | lost
 *   #announce  visually hidden, aria-live=assertive: a new ROUGE is said here, and a connection that is lost or back
 *   #toasts    role=status: short messages
 *   tr#e-ID    the line of episode ID
 *   [data-count="KEY"]  a figure that follows counts[KEY]
 *
 * Events of the stream, their data in JSON
 *   queue      {"new": 3, "rouge": 1, "counts": {"rouge": 2, "waiting": 14, ...}}   `new`: lines that came since the page
 *              was written (0 hides the link), `rouge`: how many of them are ROUGE
 *   moved      {"episode": ID, "html": "<tr id=e-ID>...</tr>"}   that one line changes, in its place; an empty html marks
 *              it as gone and leaves it there: no row ever moves under the pointer
 *   notice     {"text": "...", "kind": "error" | absent}
 *   heartbeat  {"now_ms": ...}   every 5 s; 12 s without any event is a lost connection
 *
 * A browser opens six connections to a server at most (HTTP/1.1), so a page without the queue gives its own back while
 * it is hidden; a hidden queue keeps its own, for the sound.
 */

import { setServerNow, tick } from "./countdown.js";
import { sound } from "./sound.js";

const SILENT_MS = 12_000;
const AGAIN_MS = 2_000;
const TOAST_MS = 10_000;

const element = (/** @type {string} */ id) => document.getElementById(id);
const title = document.title;

/** @type {EventSource | null} */
let source = null;
/** When anything last came, and when the connection was last begun. */
let heardAt = performance.now();
let openedAt = heardAt;
let lost = false;
let ended = false;
let rougeShown = 0;

/** Connect, and watch the connection. */
export function startLive() {
  if (!document.body.dataset.live) return;
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id === "queue") showNew(0, 0);
  });
  document.addEventListener("visibilitychange", () => {
    if (element("queue")) return;
    if (document.hidden) close();
    else if (!source) {
      open();
      askCounts();
    }
  });
  // A page that is left is not a connection that is lost; one that comes back from the browser's cache is old.
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      open();
      askCounts();
    }
  });
  open();
  setInterval(watch, 500);
}

/**
 * Show a short message.
 * @param {string} text
 * @param {string} [kind] "error" stays until it is closed.
 */
export function toast(text, kind) {
  const box = document.createElement("div");
  box.className = kind === "error" ? "toast toast-error" : "toast";
  const words = document.createElement("span");
  words.textContent = text;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "btn btn-quiet";
  button.textContent = "✕";
  button.setAttribute("aria-label", "Fermer le message");
  button.addEventListener("click", () => box.remove());
  box.append(words, button);
  element("toasts")?.append(box);
  if (kind !== "error") setTimeout(() => box.remove(), TOAST_MS);
}

function open() {
  source?.close();
  openedAt = performance.now();
  if (!lost) heardAt = openedAt;
  source = new EventSource(document.body.dataset.live);
  source.addEventListener("open", heard);
  source.addEventListener("error", failed);
  on("heartbeat", (data) => setServerNow(data.now_ms));
  on("queue", applyQueue);
  on("moved", applyMoved);
  on("notice", (data) => toast(data.text, data.kind));
}

function close() {
  source?.close();
  source = null;
}

/**
 * @param {string} name
 * @param {(data: any) => void} apply
 */
function on(name, apply) {
  source.addEventListener(name, (event) => {
    heard();
    apply(JSON.parse(event.data || "{}"));
  });
}

function heard() {
  heardAt = performance.now();
  show("live", "En direct");
  if (!lost) return;
  lost = false;
  element("lost").hidden = true;
  announce("Connexion rétablie");
  askCounts();
}

function failed() {
  lose();
  // The server refused: it may be that the session has ended.
  if (source?.readyState === EventSource.CLOSED) askCounts();
}

function lose() {
  if (lost || !source) return;
  lost = true;
  show("lost", "Hors ligne");
  announce("Connexion perdue\u00a0: la liste n’est plus à jour");
  watch();
}

/** Twice a second: is the connection silent, and how long has it been lost? */
function watch() {
  if (!source || ended) return;
  const now = performance.now();
  if (!lost && now - heardAt > SILENT_MS) lose();
  if (!lost) return;
  const s = Math.floor((now - heardAt) / 1000);
  element("lost").textContent = `Connexion perdue depuis ${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
  element("lost").hidden = false;
  // The browser tries again by itself, but for a server that refuses, and for one that is silent on an open connection.
  const patience = source.readyState === EventSource.CLOSED ? AGAIN_MS : SILENT_MS;
  if (source.readyState !== EventSource.CONNECTING && now - openedAt > patience) open();
}

/** Ask what `queue` would say now: after a time without connection, events have been missed. */
async function askCounts() {
  const url = document.body.dataset.counts;
  if (!url) return;
  try {
    const answer = await fetch(url, { headers: { Accept: "application/json" }, cache: "no-store" });
    if (answer.status === 401 || answer.status === 403 || answer.redirected) return expire();
    if (answer.ok) applyQueue(await answer.json());
  } catch {
    // Still no network: the banner says so already.
  }
}

/** @param {string} text For a screen reader, at once. */
function announce(text) {
  // The same words twice are said twice only if there was nothing between.
  element("announce").textContent = "";
  setTimeout(() => (element("announce").textContent = text), 50);
}

function expire() {
  ended = true;
  close();
  const box = element("lost");
  const again = document.createElement("a");
  again.href = location.href;
  again.textContent = "se reconnecter";
  box.replaceChildren("Session terminée – ", again);
  box.hidden = false;
  show("lost", "Hors ligne");
}

/**
 * @param {"live" | "lost"} state
 * @param {string} text
 */
function show(state, text) {
  const link = element("link");
  if (!link || link.dataset.state === state) return;
  link.dataset.state = state;
  link.textContent = text;
  link.hidden = false;
}

/** @param {{new?: number, rouge?: number, counts?: Record<string, number>}} data */
function applyQueue(data) {
  for (const [key, count] of Object.entries(data.counts ?? {})) {
    for (const figure of document.querySelectorAll(`[data-count="${CSS.escape(key)}"]`)) figure.textContent = count;
  }
  if (data.new !== undefined) showNew(data.new, data.rouge ?? 0);
}

/**
 * @param {number} count Lines that are not on the page.
 * @param {number} rouge How many of them are ROUGE.
 */
function showNew(count, rouge) {
  const link = element("new");
  const others = count - rouge;
  const plural = (/** @type {number} */ n) => (n > 1 ? "s" : "");
  const what = !rouge
    ? `${count} nouvelle${plural(count)} alerte${plural(count)}`
    : `▲ ${rouge} ROUGE${others ? ` et ${others} autre${plural(others)}` : ""}`;
  if (link) {
    link.textContent = `${what} – afficher`;
    link.classList.toggle("has-rouge", rouge > 0);
    link.hidden = count === 0;
  }
  document.title = count ? `(${rouge ? "▲" : ""}${count}) ${title}` : title;
  if (rouge > rougeShown) {
    const n = rouge - rougeShown;
    announce(`${n} nouvelle${plural(n)} alerte${plural(n)} ROUGE`);
    sound();
  }
  rougeShown = rouge;
}

/** @param {{episode: string, html: string}} data */
function applyMoved(data) {
  const old = element(`e-${data.episode}`);
  if (!old) return;
  const written = document.createElement("template");
  written.innerHTML = data.html.trim();
  const row = written.content.firstElementChild;
  if (!row) {
    old.classList.add("gone");
    for (const control of old.querySelectorAll(".actions .btn")) {
      control.toggleAttribute("disabled", true);
      control.setAttribute("aria-disabled", "true");
      control.removeAttribute("data-key");
      control.removeAttribute("href");
    }
    return;
  }
  const focused = old.contains(document.activeElement) ? (document.activeElement.dataset.key ?? "Enter") : null;
  const telephone = old.querySelector("details.phone")?.open;
  row.classList.add("moved");
  old.replaceWith(row);
  if (telephone) row.querySelector("details.phone")?.setAttribute("open", "");
  if (focused) (row.querySelector(`[data-key="${focused}"]`) ?? row.querySelector('[data-key="Enter"]'))?.focus();
  window.htmx?.process(row);
  tick();
}
