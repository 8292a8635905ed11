"""Times, durations and levels as a nurse reads them: the filters of the templates."""

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from rules.explain import dates_text, limit_text, moment_text, typeset
from rules.levels import Level
from triage.view import SHAPES, since, time_left
from triage.work.states import OUTCOMES, REASONS, Outcome, Reason, State

__all__ = ["ACTIONS", "DEEDS", "KINDS", "Words"]

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000

BACK: Final = {
    "worse": "l’état du patient s’est aggravé",
    "released": "remise dans la file",
    "expired": "prise sans suite",
    "call_due": "à rappeler",
    "unanswered": "avis demandé sans réponse",
    "mute_ended": "fin de sourdine",
    "forgotten": "retrouvée par le contrôle",
}

KINDS: Final = {
    "reminded": typeset("Délai dépassé : personne n’a pris l’alerte"),
    "next_role": typeset("Alerte sans réponse : appel au cardiologue"),
    "expired": typeset("Prise sans suite : l’alerte est revenue dans la file"),
    "call_due": "Patient à rappeler",
    "unanswered": "Avis demandé, sans réponse",
    "mute_ended": "Fin de sourdine",
    "forgotten": typeset("Contrôle : une alerte n’avait pas de suite prévue"),
    "taken over": "Un collègue a repris l’alerte",
    "handed over": "Une alerte vous est confiée",
    "escalated": "Avis demandé",
    "worse": "Aggravation",
    "ended": "L’alerte s’est terminée d’elle-même",
}
"""What a notice says, by its kind."""

ACTIONS: Final = {
    "claimed": "Prise",
    "took over": "Reprise",
    "released": "Remise dans la file",
    "called": "Appel",
    "escalated": "Avis demandé",
    "muted": "Mise en sourdine",
    "closed": "Clôturée",
    "reopened": "Rouverte",
    "handed over": "Confiée",
    "reminded": typeset("Rappel : délai dépassé"),
    "next_role": "Appel au cardiologue",
    "expired": "Prise sans suite",
    "call_due": "À rappeler",
    "unanswered": "Avis sans réponse",
    "mute_ended": "Fin de sourdine",
    "forgotten": "Retrouvée par le contrôle",
    "limit set": "Limite changée",
    "limit taken back": "Limite personnelle retirée",
    "note": "Note",
}
"""What the thread of a patient calls an action of `triage.work.timeline.TOLD`."""

DEEDS: Final = ACTIONS | {
    "patient seen": "Patient consulté",
    "identity seen": "Identité consultée",
    "patient opened": "Dossier d’une autre cellule ouvert",
    "entered": "Mesures saisies",
    "workshop seen": "Atelier consulté",
    "trial seen": "Essai consulté",
    "shadow seen": "Ombre consultée",
    "candidate seen": "Version dans l’ombre consultée",
    "limits proposed": "Limites proposées",
    "limits signed": "Limites signées",
    "limits refused": "Limites refusées",
    "limits withdrawn": "Limites retirées",
    "limits in force": "Limites en vigueur",
    "limits taken back": "Limites annulées",
    "shadow begun": "Ombre commencée",
    "shadow ended": "Ombre arrêtée",
    "protocol signed": "Protocole signé",
    "trail seen": "Journal consulté",
    "trail exported": "Journal exporté",
    "signed in": "Connexion",
    "signed out": "Déconnexion",
    "sign-in refused": "Connexion refusée",
    "password set": "Mot de passe changé",
    "second factor shown": "Second facteur montré",
    "second factor set": "Second facteur activé",
    "token made": "Jeton créé",
    "token revoked": "Jeton révoqué",
    "account created": "Compte créé",
    "account changed": "Compte modifié",
    "account reset": "Nouveau mot de passe provisoire",
    "account locked": "Compte bloqué",
    "account unlocked": "Compte débloqué",
    "account disabled": "Compte désactivé",
}
"""What the audit trail calls an action; its own name is what exports and the terminal have."""


class Words:
    """Words in one zone.

    Parameters
    ----------
    zone : ZoneInfo
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone

    def filters(self) -> Mapping[str, Any]:
        """Give the filters of the templates, by name."""
        return {
            "moment": self.moment,
            "hour": self.hour,
            "iso": self.iso,
            "dates": dates_text,
            "level_word": lambda level: Level(level).word,
            "level_class": lambda level: Level(level).name.lower(),
            "shape": lambda level: SHAPES[Level(level)],
            "state_word": lambda state: State(state).word,
            "reason_word": lambda reason: REASONS[Reason(reason)],
            "outcome_word": lambda outcome: OUTCOMES[Outcome(outcome)],
            "deed_word": lambda action: DEEDS.get(action, action),
            "back_word": lambda why: BACK.get(why, why),
            "b64": lambda text: base64.b64encode(text.encode()).decode(),
            "figure": figure,
            "exact": exact,
            "changed_to": changed_to,
            "capitalize_first": lambda text: text[:1].upper() + text[1:],
            "thousands": lambda count: f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
        }

    def moment(self, t_ms: int | None) -> str:
        """Say a day and a time: 27/11/2026 14:05."""
        return "" if t_ms is None else moment_text(t_ms, self.zone)

    def hour(self, t_ms: int | None) -> str:
        """Say a time of day."""
        return "" if t_ms is None else f"{self._local(t_ms):%H:%M}"

    def iso(self, t_ms: int | None) -> str:
        """Say a time for a field: 2026-11-27T14:05."""
        return "" if t_ms is None else f"{self._local(t_ms):%Y-%m-%dT%H:%M}"

    def left(self, due_ms: int | None, now_ms: int) -> str:
        """Say how long is left."""
        return time_left(None if due_ms is None else due_ms - now_ms)

    def since(self, t_ms: int, now_ms: int) -> str:
        """Say since when."""
        return since(t_ms, now_ms, self.zone)

    def read(self, text: str) -> int:
        """Read a time from a field (2026-11-27T14:05), local; ms UTC.

        Raises
        ------
        ValueError
            It is none.
        """
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=self.zone)
        return round(at.timestamp() * 1000)

    def _local(self, t_ms: int) -> datetime:
        return datetime.fromtimestamp(t_ms / 1000, self.zone)


def exact(value: float | None, unit: str = "") -> str:
    """Write a limit: as `figure`, with every decimal that it has, as what is signed is what is shown."""
    if value is None or not math.isfinite(value):
        return "–"
    text = limit_text(value)
    return f"{text}\N{NO-BREAK SPACE}{unit}" if unit not in {"", "1"} else text


def answered(value: float | None, unit: str, choices: Sequence[str] = ()) -> str:
    """Write a reading: the answer that it stands for, or a figure with its unit."""
    if value is not None and value in range(len(choices)):
        return typeset(choices[int(value)])
    return figure(value, unit)


def changed_to(value: float | None, unit: str = "") -> str:
    """Say to what a patient's limit was changed; without a value it was withdrawn, and what is below it holds again."""
    if value is None:
        return "limite personnelle retirée (celle de la cellule ou du protocole vaut de nouveau)"
    return figure(value, unit)


def figure(value: float | None, unit: str = "") -> str:
    """Write a figure with a decimal comma and its unit; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.2f}".rstrip("0").rstrip(".").replace(".", ",")
    return f"{text}\N{NO-BREAK SPACE}{unit}" if unit not in {"", "1"} else text
