"""What findings on data quality say in French, for the pages; the terminal and the JSON have `engine.quality_words`."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from engine.quality_findings import Finding
from ingest.reasons import Reason
from ingest.signals import SIGNALS
from rules.explain import limit_text, number_text, typeset
from rules.protocol import Protocol

__all__ = [
    "COLUMNS",
    "KINDS",
    "count_text",
    "note_text",
    "questions_of",
    "reason_text",
    "said",
    "signal_text",
]

COLUMNS: Final = (
    "patients", "mesures", "jours, %", "illisibles", "invraisemblables", "en double", "contredites", "en désordre",
    "avec des trous",
)  # fmt: skip
"""As `engine.quality.SITE_COLUMNS`."""

_REASONS: Final = {
    Reason.BAD_PATIENT: "identifiant de patient illisible",
    Reason.BAD_TIME: "moment illisible",
    Reason.TIME_BEFORE_2000: "moment avant 2000",
    Reason.TIME_IN_FUTURE: "moment à venir",
    Reason.UNKNOWN_SIGNAL: "signal inconnu",
    Reason.NOT_A_NUMBER: "valeur qui n’est pas un nombre",
    Reason.NAN: "valeur absente",
    Reason.INFINITE: "valeur infinie",
    Reason.IMPLAUSIBLE: "valeur invraisemblable",
    Reason.INCONSISTENT: "pressions incompatibles entre elles",
    Reason.UNKNOWN_UNIT: "unité inconnue",
    Reason.BAD_ROW: "ligne illisible",
    Reason.NAIVE_TIME: "heure sans décalage horaire",
}
"""What refuses the rows of files; a packet can be refused for more, by codes that only programs send."""

_LABELS: Final = {signal.name: signal.label_fr for signal in SIGNALS}

_ITEM: Final = re.compile(r"item (\d+)")

_NOTES: Final = tuple(
    (re.compile(form), words)
    for form, words in (
        (r"(.+): passed over", "{} : laissé de côté"),
        (
            r"(.+): passed over, it has none of the columns of readings",
            "{} : laissé de côté, il n’a aucune des colonnes de mesures",
        ),
        (
            r"(?:.*[/\\])?(.+): no ECG signal in the header, or no file of samples beside it",
            "{} : laissé de côté, pas d’ECG dans son en-tête, ou pas de fichier d’échantillons à côté",
        ),
        (
            r"(\d+) ECG records have no date: they begin on 2000-01-03 \(mapping: wfdb\.start\)",
            "enregistrements ECG sans date : {}, qui commencent le 03/01/2000 (wfdb.start dans la correspondance)",
        ),
    )
)
"""The notes of `ingest.formats.replay.Replay`, and what they say."""


def count_text(count: float) -> str:
    """Write a count."""
    return number_text(count, 0)


def reason_text(name: str) -> str:
    """Say why a row is refused, with the name by which files have it."""
    known = _REASONS.get(Reason[name]) if name in Reason.__members__ else None
    return f"{known} ({name})" if known else name


def questions_of(protocols: Sequence[Protocol]) -> dict[str, str]:
    """Give what the questionnaires of protocols ask, by what the report calls an item: ``item 256``, or its name."""
    items = [item for protocol in protocols for item in protocol.items.values()]
    return {name: typeset(item.label) for item in items for name in (f"item {item.code}", item.name)}


def signal_text(name: str, questions: Mapping[str, str] = MappingProxyType({})) -> str:
    """Say what a signal is: its label or, of an item of a questionnaire, what is asked, or its number."""
    item = _ITEM.fullmatch(name)
    return questions.get(name) or (f"question {item[1]}" if item else _LABELS.get(name, name))


def note_text(note: str) -> str | None:
    """Say a note on the files, by their names; None where it has no French yet."""
    for form, words in _NOTES:
        match = form.fullmatch(note)
        if match:
            return typeset(words.format(*match.groups()))
    return None


def _of(each: Finding, what: str) -> str:
    share = 100 * each.count / each.of if each.of else 0.0
    # Two digits of what is rare: one reading in a thousand is not none.
    said = number_text(share, 0) if share >= 10 else f"{share:.2g}".replace(".", ",")
    return (
        f"{count_text(each.count)} {what} sur {count_text(each.of)} ({said} %)"
        if each.of
        else count_text(each.count)
    )


_NOT_CONVERTED: Final = (
    "Rien n’est converti sur un soupçon : si c’est bien cela, dites-le dans une correspondance"
)

_SAID: dict[str, Callable[[Finding], str]] = {
    "refused": lambda f: (
        f"{_of(f, 'lignes')}, dans {f.detail['files']} fichiers, ne se lisent pas : "
        f"{reason_text(str(f.detail['reason']))}. Elles vont en quarantaine"
    ),
    "moved": lambda f: f"{_of(f, 'lignes')} sont de patients dont la première ligne est d’un autre site",
    "naive": lambda f: (
        f"{_of(f, 'heures')}, dans {f.detail['files']} fichiers, sont sans décalage et lues aux horloges "
        f"du fuseau donné ; {count_text(float(f.detail['overlap']))} y sont deux fois (la première est "
        f"prise), {count_text(float(f.detail['gap']))} y sont sautées (refusées)"
    ),
    "mixed_offsets": lambda f: (
        f"{_of(f, 'heures')} de {f.detail['files']} fichiers ({f.detail['names']}) sont sans décalage, "
        "et les autres du même fichier en ont un : deux sources, ou deux exports"
    ),
    "disorder": lambda f: (
        f"{_of(f, 'lignes')} suivent une ligne plus tardive du même patient. Un rejeu les trie ; en "
        "direct elles seraient en retard"
    ),
    "disorder_more": lambda f: f"{count_text(f.count)} autres fichiers ont des lignes en désordre",
    "unit_spellings": lambda f: f"l’unité est écrite de {f.count} façons : {f.detail['units']}",
    "unit_wrong": lambda f: (
        f"{_of(f, 'mesures')} sont invraisemblables, et habituelles si l’unité était {f.detail['unit']} "
        f": cela ressemble à {f.detail['unit']}, le fichier ou la correspondance dit {f.detail['said']}. "
        f"{_NOT_CONVERTED}"
    ),
    "unit_median": lambda f: (
        f"la médiane de {count_text(f.count)} mesures est {number_text(float(f.detail['median']), 1)} "
        f"{f.detail['ours']} : cela ressemble à {f.detail['unit']}, le fichier ou la correspondance dit "
        f"{f.detail['said']}. {_NOT_CONVERTED}"
    ),
    "unit_mixed": lambda f: (
        f"{_of(f, 'mesures')} sont à la précédente comme {f.detail['unit']} à {f.detail['ours']} : deux "
        "unités d’un même patient, sous un seul nom"
    ),
    "future": lambda f: (
        f"{_of(f, 'mesures')} sont datées d’après maintenant (TIME_IN_FUTURE) : une horloge qui avance"
    ),
    "ancient": lambda f: (
        f"{_of(f, 'mesures')} sont datées d’avant 2000 (TIME_BEFORE_2000) : une horloge qui n’a jamais "
        "été mise à l’heure"
    ),
    "midnight_local": lambda f: (
        f"{_of(f, 'mesures')} sont à 0:00:00 de l’horloge locale : des dates sans heure"
    ),
    "midnight_utc": lambda f: f"{_of(f, 'mesures')} sont à 0:00:00 UTC : des dates sans heure",
    "dst_later": lambda f: (
        f"les habitudes sont de {f.detail['minutes']} minutes plus tardives aux horloges de "
        f"{f.detail['zone']} à l’heure d’été qu’à l’heure d’hiver : heures locales écrites comme si "
        "elles étaient UTC ou d’un décalage fixe, ou fuseau faux"
    ),
    "dst_earlier": lambda f: (
        f"les habitudes sont de {count_text(-float(f.detail['minutes']))} minutes plus tôt aux horloges "
        f"de {f.detail['zone']} à l’heure d’été qu’à l’heure d’hiver : horloge qui ne change pas, lue "
        "comme si elle changeait, ou fuseau faux"
    ),
    "clock_differs": lambda f: (
        f"les mesures sont prises à {number_text(float(f.detail['hours']), 1, signed=True)} h de celles "
        "des autres sites : un autre fuseau, ou une autre habitude"
    ),
    "implausible": lambda f: (
        f"{_of(f, 'mesures')} sont hors de {limit_text(float(f.detail['low']))} à "
        f"{limit_text(float(f.detail['high']))} {f.detail['ours']}, ou ne sont pas des nombres ; elles "
        "vont en quarantaine (IMPLAUSIBLE, NAN, INFINITE)"
    ),
    "same": lambda f: f"{_of(f, 'mesures')} sont là deux fois : même patient, même moment, même valeur",
    "conflict": lambda f: (
        f"{_of(f, 'mesures')} disent une autre valeur qu’une du même patient au même moment"
    ),
    "swapped": lambda f: (
        f"{_of(f, 'pressions')} ont la diastolique au-dessus de la systolique : deux colonnes échangées"
    ),
    "silent": lambda f: (
        f"{_of(f, 'patients')} ont un trou de plus de {f.detail['days']} jours, aussi jusqu’à la fin des "
        f"données du site ; le plus long est de {f.detail['longest']} jours"
    ),
    "few_days": lambda f: (
        f"seuls {_of(f, 'jours de patients')} ont une mesure, de la première de chacun à la fin de "
        "celles du site"
    ),
    "constant": lambda f: (
        f"{_of(f, 'patients')} ont toujours la même valeur, jusqu’à {f.detail['longest']} fois : un "
        "appareil bloqué, ou une valeur remplie d’office"
    ),
    "copied": lambda f: (
        f"{_of(f, 'patients')} ont la même série de valeurs qu’un autre ({f.detail['sites']}) : une "
        "personne sous deux identifiants, ou une copie"
    ),
}

KINDS = tuple(_SAID)
"""All kinds of findings."""


def said(each: Finding, questions: Mapping[str, str] = MappingProxyType({})) -> str:
    """Say a finding in a sentence, with where to look if there is a first place."""
    about = " : ".join(filter(None, [each.group, signal_text(each.signal, questions)]))
    first = f" (la première : {each.where.replace(', row ', ', ligne ')})" if each.where else ""
    return typeset(f"{about}{' : ' if about else ''}{_SAID[each.kind](each)}{first}.")
