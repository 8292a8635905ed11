"""A replay as one page in French that opens without a network: what came of it, its card, the quality of its data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.ecg_report import template
from engine.quality import Quality
from engine.quality_french import count_text, reason_text
from engine.quality_page import body
from engine.replay_summary import Summary
from rules.explain import notice, number_text, typeset
from rules.protocol import Protocol

__all__ = ["write_page"]

_ROUGE = {
    "at-recovery": "une ROUGE est tenue pour close quand sa condition finit : personne, dans les données, ne la clôt",
    "never": "une ROUGE reste ouverte jusqu’à ce qu’un acte de la cellule, dans les données, la close",
}
"""As `engine.replay_summary.ROUGE`, in French."""


def write_page(
    summary: Summary,
    protocols: Sequence[Protocol],
    card: Mapping[str, object],
    quality: Quality | None,
    path: Path,
) -> None:
    """Write the page; the same replay gives the same bytes."""
    titles = {each.id: each.title_of for each in protocols}
    shown = body(quality, protocols) if quality else {"found": None}
    page = template("replay.html").render(
        shown | {"count": count_text, "reason": reason_text},
        number=number_text,
        summary=summary,
        protocols=[(each, notice(each)) for each in protocols],
        names={each.id: each.title for each in protocols},
        rules=[(titles[each.protocol](each.rule), each) for each in summary.firings],
        rouge=typeset(_ROUGE[summary.rouge]),
        card=[(name, _said(value)) for name, value in card.items()],
    )
    path.write_text(page, encoding="utf-8")


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_said(each) for each in value)
    return str(value)
