/**
 * What runs on every page of a signed-in person. All of it is an addition: without scripts each action is a form or a link.
 *
 * No script, style or handler is inline (Content-Security-Policy: script-src 'self'; style-src 'self'), and htmx is set by
 * its <meta name="htmx-config">. Each module says its contract with the templates at its top:
 * countdown.js, live.js, sound.js, keys.js, plots.js, ecg.js. Here:
 *   [data-print] hidden   a button that prints the page
 *   an htmx request that failed is said in a message: what a nurse believes done must be done
 */

import { startCountdown } from "./countdown.js";
import { startEcg } from "./ecg.js";
import { startKeys } from "./keys.js";
import { startLive, toast } from "./live.js";
import { startPlots } from "./plots.js";
import { startSound } from "./sound.js";

startCountdown();
startKeys();
startSound();
startLive();
startPlots();
startEcg();

document.addEventListener("htmx:responseError", (event) => {
  const { status } = event.detail.xhr;
  if (status === 401) toast("Session terminée\u00a0: rien n’a été fait. Reconnectez-vous.", "error");
  else toast(`Cela n’a pas été fait (erreur ${status}). Réessayez\u202f; si cela dure, prévenez l’administrateur.`, "error");
});
document.addEventListener("htmx:sendError", () => {
  toast("Cela n’a pas été fait\u00a0: le serveur ne répond pas.", "error");
});

// A message has come beside a field, or has gone: the field is wrong, or no longer. htmx leaves the field as it is typed.
document.addEventListener("htmx:oobAfterSwap", (event) => {
  const said = event.detail.target;
  for (const field of document.querySelectorAll(`[aria-describedby~="${said.id}"]`)) {
    field.setAttribute("aria-invalid", said.textContent ? "true" : "false");
  }
});

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}
