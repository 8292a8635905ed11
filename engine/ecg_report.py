"""The page that a clinician reads of ECG records: what was found, where, and the strips; one file, no network."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jinja2
import numpy as np

from engine.ecg_analysis import QRS_ONLY, UNUSABLE, Analysis
from engine.ecg_holter import Measures
from engine.ecg_strips import GRID, rates, strip, trend
from engine.typography import French
from ingest.formats.lead import Lead
from kernels import SOURCE_HASH
from rules.explain import typeset

__all__ = ["CLASSES", "RHYTHMS", "Section", "page", "section", "template"]

RHYTHMS = {
    "VF": "Fibrillation ventriculaire",
    "VFL": "Flutter ventriculaire",
    "ASYS": "Asystolie",
    "VT": "Tachycardie ventriculaire",
    "NSVT": "Salve ventriculaire (non soutenue)",
    "PAUSE": "Pause",
    "AFIB": "Fibrillation atriale",
    "AFL": "Flutter atrial",
    "SVT": "Tachycardie supraventriculaire",
    "BRADY": "Bradycardie",
    "TACHY": "Tachycardie",
    "BIGEMINY": "Bigéminisme",
    "TRIGEMINY": "Trigéminisme",
}
"""What a label of rhythm is called, gravest first."""

CLASSES = {
    "N": "normaux",
    "S": "supraventriculaires",
    "V": "ventriculaires",
    "F": "de fusion",
    "Q": "inclassables ou stimulés",
}

_VAGUE = {"ASYS": "PAUSE", "NSVT": "VT"}
"""What an episode of the same span would also be called."""

_LEVELS = {UNUSABLE: "inexploitable", QRS_ONLY: "lisible pour les seuls QRS"}

_BURDENS = (
    ("Charge en extrasystoles ventriculaires", "pvc_burden_percent", "beats", "battements"),
    ("Charge en extrasystoles supraventriculaires", "sve_burden_percent", "beats", "battements"),
    ("Charge en fibrillation atriale", "af_burden_percent", "watched_min", "minutes"),
)

_STRIPS = 12
_ROWS = 200
_ROW_S = 10.0
_BEFORE_S = 3.0


@dataclass(frozen=True, slots=True)
class Found:
    """A line of the table of episodes."""

    name: str
    onset: str
    end: str
    duration: str
    decided: str


@dataclass(frozen=True, slots=True)
class Hour:
    """A line of the table of hours; a figure that is not determined is a dash."""

    start: str
    rate: str
    watched: str
    fibrillation: str
    ventricular: str
    supraventricular: str
    sdnn: str
    rmssd: str


@dataclass(frozen=True, slots=True)
class Traced:
    """Strips of one moment."""

    caption: str
    rows: list[str]


@dataclass(frozen=True, slots=True)
class Section:
    """One record, as the page shows it."""

    name: str
    channel: str
    facts: list[tuple[str, str]]
    episodes: list[Found]
    left_out: int
    hours: list[Hour]
    trend: str
    strips: list[Traced]


def section(name: str, lead: Lead | None, analysis: Analysis) -> Section:
    """Draw a record; without a lead, or with one of another rate than its beats, without strips."""
    rhythm = analysis.rhythm
    shown = _shown(analysis)
    drawn: list[Traced] = []
    if lead is not None and lead.rate_hz == analysis.rate_hz:
        drawn = _strips(lead, analysis, shown)
    rate = analysis.rate_hz
    found = [
        Found(
            RHYTHMS.get(rhythm.label[k], rhythm.label[k]),
            _clock(rhythm.start[k] / rate),
            _clock(rhythm.end[k] / rate),
            _seconds((rhythm.end[k] - rhythm.start[k]) / rate),
            f"{_clock(rhythm.decided[k] / rate)} (+ {_seconds((rhythm.decided[k] - rhythm.start[k]) / rate)})",
        )
        for k in shown[:_ROWS]
    ]
    return Section(
        name,
        lead.channel if lead else "",
        [(fact, typeset(said)) for fact, said in _facts(analysis, shown)],
        found,
        max(0, len(shown) - _ROWS),
        _hours(analysis),
        trend(analysis),
        drawn,
    )


def page(sections: list[Section], failed: list[str]) -> str:
    """Give the page; `failed` names records that could not be analysed."""
    return template("ecg_report.html").render(
        sections=sections, failed=failed, grid=GRID, kernels=SOURCE_HASH
    )


@lru_cache(maxsize=4)
def template(name: str) -> jinja2.Template:
    """Give a template of a page of ECG."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[French],
    )
    return environment.get_template(name)


def _shown(analysis: Analysis) -> list[int]:
    """Episodes to show: what has a more exact name is said once, as a pause that is an asystole."""
    rhythm = analysis.rhythm
    spans = list(zip(rhythm.start.tolist(), rhythm.end.tolist(), rhythm.label, strict=True))
    named = {(start, end, _VAGUE[label]) for start, end, label in spans if label in _VAGUE}
    return [k for k, span in enumerate(spans) if span not in named]


def _facts(analysis: Analysis, shown: list[int]) -> list[tuple[str, str]]:
    rate, rhythm = analysis.rate_hz, analysis.rhythm
    _, by_bin = rates(analysis)
    out = [
        ("Durée", _clock(analysis.length / rate)),
        ("Battements", _number(len(analysis.beats))),
    ]
    if np.isfinite(by_bin).any():
        low, mean, high = np.nanmin(by_bin), np.nanmean(by_bin), np.nanmax(by_bin)
        out.append(
            (
                "Fréquence cardiaque",
                f"{mean:.0f}/min en moyenne, de {low:.0f} à {high:.0f}",
            )
        )
    if analysis.classes is None:
        out.append(("Classes des battements", "non déterminées"))
    else:
        counts = [(analysis.classes.count(each), words) for each, words in CLASSES.items()]
        said = ", ".join(f"{_number(count)} {words}" for count, words in counts if count)
        out.append(("Classes des battements", said or "aucun battement"))
    out += _summed_up(analysis)
    labels = {rhythm.label[k] for k in shown}
    for label in [*(each for each in RHYTHMS if each in labels), *sorted(labels - set(RHYTHMS))]:
        mine = [k for k in shown if rhythm.label[k] == label]
        total = float(sum(rhythm.end[k] - rhythm.start[k] for k in mine)) / rate
        out.append((RHYTHMS.get(label, label), f"{_count(len(mine), 'épisode')}, {_seconds(total)} au total"))
    if analysis.quality is None:
        out.append(("Qualité du signal", "pas de signal : battements donnés"))
        return out
    quality = analysis.quality
    for level in dict.fromkeys(quality.label):
        total = sum(
            int(end - start)
            for start, end, each in zip(quality.start, quality.end, quality.label, strict=True)
            if each == level
        )
        share = 100.0 * total / max(analysis.length, 1)
        out.append((f"Signal {_LEVELS.get(level, level)}", f"{_seconds(total / rate)} ({_decimal(share)} %)"))
    if not quality.label:
        out.append(("Signal", "bon de bout en bout"))
    return out


def _summed_up(analysis: Analysis) -> list[tuple[str, str]]:
    """Say rate by minute, variability and burdens of the whole record; what is not determined is said to be so."""
    found = analysis.measures
    out = []
    minutes = list(found.of("rate_minute").values())
    if minutes:
        said = f"de {min(minutes):.0f} à {max(minutes):.0f}/min sur {_count(len(minutes), 'minute')}"
        out.append(("Fréquence moyenne par minute", said))
    if analysis.classes is not None:
        out.append(("Variabilité", _variability(found)))
    for title, name, weight, unit in _BURDENS:
        value = found.weighted(name, weight)
        if np.isfinite(value):
            whole = round(sum(found.of(weight).values()))
            out.append((title, f"{_decimal(value)} % de {_number(whole)} {unit}"))
    return out


def _variability(found: Measures) -> str:
    """Say the medians of the fives of minutes."""
    sdnn, rmssd, pnn50 = (list(found.of(name).values()) for name in ("sdnn_ms", "rmssd_ms", "pnn50_percent"))
    if not sdnn:
        return "non déterminée : pas de période de 5 minutes avec 80 % d’intervalles N-N"
    figures = f"SDNN {np.median(sdnn):.0f} ms, RMSSD {np.median(rmssd):.0f} ms, "
    figures += f"pNN50 {_decimal(float(np.median(pnn50)))} %"
    return f"{figures} (médianes de {_count(len(sdnn), 'période')} de 5 minutes, intervalles N-N seuls)"


def _hours(analysis: Analysis) -> list[Hour]:
    """Lines of the table of hours, from the record's first sample on."""
    hour = 3600.0 * analysis.rate_hz
    out = []
    for h in range(math.ceil(analysis.length / hour)):
        found = analysis.measures.within(h * hour, (h + 1) * hour)
        if not found.name:
            continue
        watched = list(found.of("watched_min").values())
        out.append(
            Hour(
                f"{h} h",
                _figure(found.weighted("rate_hour", "watched_min"), 0),
                _figure(sum(watched) if watched else math.nan, 0),
                _figure(found.weighted("af_burden_percent", "watched_min"), 1),
                _figure(found.weighted("pvc_burden_percent", "beats"), 1),
                _figure(found.weighted("sve_burden_percent", "beats"), 1),
                _figure(found.mean("sdnn_ms"), 0),
                _figure(found.mean("rmssd_ms"), 0),
            )
        )
    return out


def _strips(lead: Lead, analysis: Analysis, shown: list[int]) -> list[Traced]:
    """Strips of the beginning, and of the gravest and longest episodes, in the order of time."""
    rhythm, rate = analysis.rhythm, analysis.rate_hz
    grave = list(RHYTHMS)

    def key(k: int) -> tuple[int, int, int]:
        label = rhythm.label[k]
        rank = grave.index(label) if label in grave else len(grave)
        return rank, -int(rhythm.end[k] - rhythm.start[k]), k

    chosen = sorted(sorted(shown, key=key)[:_STRIPS])
    size = round(_ROW_S * rate)
    out = [Traced("Début de l’enregistrement", [strip(lead, analysis, 0, size, RHYTHMS)])]
    for k in chosen:
        start = max(0, int(rhythm.start[k]) - round(_BEFORE_S * rate))
        # A second row where the end would else not be seen and is near.
        rows = 2 if size < rhythm.end[k] - start <= 2 * size else 1
        caption = (
            f"{RHYTHMS.get(rhythm.label[k], rhythm.label[k])} à {_clock(rhythm.start[k] / rate)}, "
            f"{_seconds((rhythm.end[k] - rhythm.start[k]) / rate)} ; tracé à partir de {_clock(start / rate)}"
        )
        out.append(
            Traced(
                typeset(caption),
                [
                    strip(lead, analysis, start + i * size, start + (i + 1) * size, RHYTHMS)
                    for i in range(rows)
                ],
            )
        )
    return out


# French figures ----------------------------------------------------------------------------------------------


def _figure(value: float, decimals: int) -> str:
    """Say a figure, or that it is not determined."""
    return f"{value:.{decimals}f}".replace(".", ",") if math.isfinite(value) else "–"


def _decimal(value: float) -> str:
    return f"{value:.1f}".replace(".", ",")


def _number(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def _count(number: int, word: str) -> str:
    return f"{_number(number)} {word}{'s' if number > 1 else ''}"


def _seconds(value: float) -> str:
    """Say a duration: 4,2 s; 3 min 05 s; 2 h 10 min."""
    if value < 60.0:
        return f"{_decimal(value)} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _clock(value: float) -> str:
    """Say a moment of the record: 0:04:31,2."""
    tenths = round(float(value) * 10.0)
    seconds = tenths // 10
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d},{tenths % 10}"
