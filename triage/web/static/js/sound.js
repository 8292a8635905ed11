/**
 * Two short notes when a ROUGE arrives, if this person wants them on this workstation.
 *
 * Contract
 *   <button id="sound" aria-pressed="false" hidden>   shown by this module; its text and aria-pressed follow the choice
 * The choice is kept in the browser (localStorage, `vigie-sound`), and is no data of a patient.
 */

const KEPT = "vigie-sound";
const NOTES_HZ = [880, 1175];

/** @type {AudioContext | null} */
let context = null;

/** @returns {boolean} */
const wanted = () => localStorage.getItem(KEPT) === "on";

/** A browser lets a page sound only after its reader has touched it. */
function wake() {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume();
}

/** Sound, if that is wanted and the browser lets us. */
export function sound() {
  if (!wanted() || context?.state !== "running") return;
  NOTES_HZ.forEach((frequency, i) => {
    const from = context.currentTime + i * 0.18;
    const note = context.createOscillator();
    const volume = context.createGain();
    note.frequency.value = frequency;
    volume.gain.setValueAtTime(0, from);
    volume.gain.linearRampToValueAtTime(0.25, from + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.001, from + 0.3);
    note.connect(volume).connect(context.destination);
    note.start(from);
    note.stop(from + 0.32);
  });
}

/** Show the button and follow it. */
export function startSound() {
  const button = document.getElementById("sound");
  if (!button) return;
  const show = () => {
    button.textContent = wanted() ? "Son\u00a0: oui" : "Son\u00a0: non";
    button.setAttribute("aria-pressed", String(wanted()));
    button.title = "Son à l’arrivée d’une alerte ROUGE";
  };
  button.addEventListener("click", () => {
    localStorage.setItem(KEPT, wanted() ? "off" : "on");
    show();
    wake();
    sound();
  });
  for (const touch of ["pointerdown", "keydown"]) {
    addEventListener(touch, () => wanted() && wake(), { once: true });
  }
  show();
  button.hidden = false;
}
