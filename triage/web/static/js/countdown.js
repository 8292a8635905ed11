/**
 * Time left and time since, counted on the page.
 *
 * Contract
 *   <body data-now-ms="...">      the server's clock when it wrote the page, ms UTC
 *   <span data-due-ms="...">      when an answer is due; its text becomes the time left, or "retard ..."; class `soon`
 *                                 under 2 minutes, class `late` when overdue (with its word: never by colour alone)
 *   <time data-since-ms="...">    when something began; its text becomes the time since
 * The server writes the same text into both, for a page without scripts.
 *
 * The workstation's clock is not asked: it may be wrong. What is counted is how long the page has been open, and each
 * heartbeat of the live connection brings the server's time anew.
 */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const SOON = 2 * MINUTE;

let offset = Number(document.body.dataset.nowMs ?? Date.now()) - performance.now();

/** @returns {number} The server's time, ms UTC. */
export function serverNow() {
  return performance.now() + offset;
}

/** @param {number} nowMs The server's time as it just came. */
export function setServerNow(nowMs) {
  if (Number.isFinite(nowMs)) offset = nowMs - performance.now();
}

/**
 * Write a duration as the terminal does ("42 min", "1 h 05", "3 j 4 h"), with seconds where they matter.
 * @param {number} ms Not negative.
 * @param {boolean} seconds Below ten minutes, write seconds too.
 * @returns {string}
 */
export function duration(ms, seconds) {
  const minutes = Math.floor(ms / MINUTE);
  if (seconds && minutes < 10) {
    const s = Math.floor((ms % MINUTE) / SECOND);
    return minutes ? `${minutes} min ${String(s).padStart(2, "0")} s` : `${s} s`;
  }
  if (ms < HOUR) return `${minutes} min`;
  const hours = Math.floor((ms % DAY) / HOUR);
  if (ms < DAY) return `${hours} h ${String(minutes % 60).padStart(2, "0")}`;
  return `${Math.floor(ms / DAY)} j ${hours} h`;
}

/** Write every time on the page as it is now. */
export function tick() {
  const now = serverNow();
  for (const cell of document.querySelectorAll("[data-due-ms]")) {
    const left = Number(cell.dataset.dueMs) - now;
    write(cell, left < 0 ? `retard ${duration(-left, left > -MINUTE)}` : duration(left, true));
    cell.classList.toggle("late", left < 0);
    cell.classList.toggle("soon", left >= 0 && left < SOON);
  }
  for (const cell of document.querySelectorAll("[data-since-ms]")) {
    write(cell, duration(Math.max(0, now - Number(cell.dataset.sinceMs)), false));
  }
}

/** Count from now on. */
export function startCountdown() {
  tick();
  setInterval(tick, SECOND);
  document.addEventListener("htmx:afterSwap", tick);
}

/**
 * @param {Element} element
 * @param {string} text
 */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
