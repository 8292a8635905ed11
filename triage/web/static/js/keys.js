/**
 * The keyboard, for those who do not want to reach for the mouse three hundred times a day.
 *
 * Contract
 *   [data-row]        a line; `j` and `k` go to the next and the previous one
 *   [data-key="X"]    what key X does: a button or link is clicked, a field (the search: "/") is entered. Inside a line it
 *                     acts for the line that has the focus, elsewhere for the page. "x" ticks the line's box; "Enter" is the line's own link: it
 *                     takes the focus with j and k, so that Enter opens it as on any link
 *   dialog#help, #help-open   the list of keys: `?`
 * Keys do nothing while something is typed in a field, in a dialog, or with Ctrl, Alt or Meta.
 */

/** Where letters are text: not a box that is ticked. */
const FIELDS = 'input:not([type="checkbox"], [type="radio"]), textarea, select, [contenteditable]';

/** The line that last had the focus, to come back to it when the list is refreshed. */
let last = "";

/** Listen. */
export function startKeys() {
  document.addEventListener("keydown", pressed);
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest?.("[data-row]");
    if (row) last = row.dataset.row;
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (last && document.activeElement === document.body) enter(rowOf(last));
  });
  const help = document.getElementById("help-open");
  if (help) {
    help.hidden = false;
    help.addEventListener("click", () => document.getElementById("help")?.showModal());
  }
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
  const at = /** @type {HTMLElement} */ (event.target);
  // Open: one that was just closed has the focus until the page is drawn again, and must not swallow the next key.
  if (at.closest("dialog[open]")) return;
  if (at.closest(FIELDS)) {
    if (event.key === "Escape") at.blur();
    return;
  }
  if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
  else if (event.key === "?") document.getElementById("help")?.showModal();
  else if (event.repeat || event.key === "Enter" || !act(event.key)) return;
  event.preventDefault();
}

/** @param {number} step */
function move(step) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const here = rows.indexOf(current() ?? rowOf(last));
  enter(rows[here < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, here + step))]);
}

/**
 * @param {string} key
 * @returns {boolean} Whether the key meant something here.
 */
function act(key) {
  const wanted = `[data-key="${CSS.escape(key)}"]`;
  const inRow = current()?.querySelector(wanted);
  const found = inRow ?? [...document.querySelectorAll(wanted)].find((one) => !one.closest("[data-row]"));
  if (!found || found.hidden || found.disabled) return false;
  if (found.matches(FIELDS)) {
    found.focus();
    found.select?.();
  } else {
    found.click();
  }
  return true;
}

/** @returns {Element | null} The line that has the focus. */
const current = () => document.activeElement?.closest("[data-row]") ?? null;

/** @param {string} id */
const rowOf = (id) => (id ? document.querySelector(`[data-row="${CSS.escape(id)}"]`) : null);

/** @param {Element | null | undefined} row */
function enter(row) {
  row?.querySelector('[data-key="Enter"]')?.focus();
}
