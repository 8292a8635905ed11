"""One French sentence that says why, with the figures: what a nurse reads first.

Decimal comma, units after a no-break space, the decimals of the signal. A figure that is not there is said to be
undetermined: never a zero, never a blank.
"""

import datetime as dt
import math
import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

from rules.model import Figure, Protocol, Rule

__all__ = [
    "UNDETERMINED",
    "dates_text",
    "figure_text",
    "limit_text",
    "moment_text",
    "notice",
    "number_text",
    "sentence",
    "silence_sentence",
    "typeset",
]

UNDETERMINED = "non déterminé"

_NBSP = "\N{NO-BREAK SPACE}"
_THIN = "\N{NARROW NO-BREAK SPACE}"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_ISO_DATE = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")
_WIDE = Context(prec=320)  # any double can be written out
_MOST_DECIMALS = 3  # readings are kept in thousandths
_PLAIN = 1e9
_NEAR_HALF = 1e-6

# Figures come in steps of what a device shows, and silences in whole hours: the same few thousand texts are made again
# and again. Shipped heart-failure protocol, all that `engine.report` does for its rows: 117 ns a reading without what
# is kept, 76 to 79 with it.
_KEPT = 8192
_HOURS_TO_DAYS = 7


def moment_text(t_ms: int, zone: dt.tzinfo) -> str:
    """Write a moment (ms UTC) by the clocks of a zone, as French people do: ``27/11/2026 14:05``."""
    return f"{dt.datetime.fromtimestamp(t_ms / 1000, zone):%d/%m/%Y %H:%M}"


def dates_text(text: str) -> str:
    """Write the ISO dates of a text as `moment_text` does: ``le 2026-11-27`` becomes ``le 27/11/2026``."""
    return _ISO_DATE.sub(r"\3/\2/\1", text)


@lru_cache(_KEPT)
def limit_text(value: float) -> str:
    """Write a limit with the decimals that it has, at most three: ``2``, ``1,125``, ``−2,5``."""
    text = f"{value:.3f}".rstrip("0").rstrip(".").replace(".", ",")
    return text.replace("-", "−")


@lru_cache(_KEPT)
def number_text(value: float, decimals: int, *, signed: bool = False) -> str:
    """Write a number as French people do: ``82,4``, ``12 500``, ``−2,0``.

    Parameters
    ----------
    value : float
        NaN and infinities are "non déterminé".
    decimals : int
        Shown, halves away from zero.
    signed : bool
        Whether a positive number has its plus sign.
    """
    if not math.isfinite(value):
        return UNDETERMINED
    whole, _, part = _digits(abs(value), decimals).partition(".")
    is_zero = not (whole + part).strip("0")
    if len(whole) > 4:
        whole = f"{int(whole):,}".replace(",", _THIN)
    sign = "" if is_zero else "\N{MINUS SIGN}" if value < 0 else "+" if signed else ""
    return f"{sign}{whole},{part}" if part else f"{sign}{whole}"


def figure_text(figure: Figure, value: float, decimals: int | None = None) -> str:
    """Write a figure with its unit, or the answer that it stands for; `decimals` other than the figure's own."""
    if not math.isfinite(value):
        return UNDETERMINED
    if figure.choices and value == int(value) and 0 <= value < len(figure.choices):
        return typeset(figure.choices[int(value)])
    number = number_text(value, figure.decimals if decimals is None else decimals, signed=figure.signed)
    return f"{number}{_NBSP}{figure.unit}" if figure.unit else number


class Wording:
    """The text of a rule, cut at its figures, to be filled often.

    Parameters
    ----------
    protocol : Protocol
        That `rule` is of.
    rule : Rule
    """

    def __init__(self, protocol: Protocol, rule: Rule) -> None:
        words = _PLACEHOLDER.split(rule.text)
        names = words[1::2]
        # Typeset without the figures: no French sign stands where words and figures meet.
        self._words = [typeset(each) for each in words[::2]]
        self._figures = [(name, protocol.figure(name), name in protocol.limits) for name in names]
        self._bounds = [name for name in names if name in protocol.limits]

    def fill(self, values: Mapping[str, float], limits: Mapping[str, float]) -> str:
        """Give the sentence; `values` of features and `limits` in force by name, NaN or not there: undetermined."""
        bounds = tuple(limits.get(name, math.nan) for name in self._bounds)
        out = [self._words[0]]
        for (name, figure, is_limit), words in zip(self._figures, self._words[1:], strict=True):
            if is_limit:
                value = limits.get(name, math.nan)
                decimals = _decimals_of(value)
            else:
                value = values.get(name, math.nan)
                decimals = _apart(value, figure.decimals, bounds)
            out += (figure_text(figure, value, decimals), words)
        return "".join(out)


def sentence(protocol: Protocol, rule: Rule, values: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """Fill the text of a rule of `protocol` once, as `Wording.fill` does."""
    return Wording(protocol, rule).fill(values, limits)


def silence_sentence(text: str, silent_h: float) -> str:
    """Fill the text of a non-transmission rule with the length of the silence, in hours, then in days."""
    if not math.isfinite(silent_h):
        return _silence(text, None)
    return _silence(text, math.trunc(silent_h))


@lru_cache(_KEPT)
def _silence(text: str, hours: int | None) -> str:
    if hours is None:
        words = UNDETERMINED
    elif hours < 48:
        words = f"{hours}{_NBSP}heure{'s' if hours >= 2 else ''}"
    else:
        days, left = divmod(hours, 24)
        words = f"{days}{_NBSP}jours"
        # A limit is often between two days: 54 h must not read as 2 days. Beyond a week nobody counts hours.
        if left and days < _HOURS_TO_DAYS:
            words += f" et {left}{_NBSP}heure{'s' if left >= 2 else ''}"
    return typeset(text.replace("{silence}", words))


def notice(protocol: Protocol) -> str:
    """Say that nobody answers for the figures of `protocol`; empty when somebody does."""
    if protocol.signed:
        return ""
    return typeset(
        f"Protocole « {protocol.title} » {protocol.version} non signé : à signer par un clinicien."
    )


def _apart(value: float, decimals: int, bounds: tuple[float, ...]) -> int:
    """Decimals that tell `value` from the limits it is compared with: 49.6 is not shown as 50 beside a limit of 50."""
    unit = 10.0**-decimals  # rounding moves a figure by half of it
    if not any(abs(value - bound) < unit for bound in bounds):
        return decimals
    others = [Decimal(repr(bound)) for bound in bounds if math.isfinite(bound) and bound != value]
    while decimals < _MOST_DECIMALS and _rounded(value, decimals) in others:
        decimals += 1
    return decimals


def _digits(value: float, decimals: int) -> str:
    """Write a number, 0 or more, with so many decimals, halves up."""
    scaled = value * 10.0**decimals
    # The double and its shortest text are rounded alike, unless they lie on both sides of a half.
    if scaled < _PLAIN and abs(scaled % 1.0 - 0.5) > _NEAR_HALF:
        return f"{value:.{decimals}f}"
    return f"{_rounded(value, decimals):f}"


def _rounded(value: float, decimals: int) -> Decimal:
    # From the shortest text of the double, which is what was typed: 2.675 is below 2.675 in binary.
    return Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, _WIDE)


@lru_cache(_KEPT)
def _decimals_of(value: float) -> int:
    """Decimals that a limit needs: 1.36 is shown whole, whatever the signal's own."""
    if not math.isfinite(value):
        return 0
    return max(0, min(_MOST_DECIMALS, -int(Decimal(repr(value)).normalize().as_tuple().exponent)))


@lru_cache(_KEPT)
def typeset(text: str) -> str:
    """Keep French signs on the line of the word that they follow, and numbers with their per cent."""
    # After a comma a per cent is a unit of its own, as in the head of a column, which may break there.
    text = re.sub(r"(?<!,) ([:»%])", rf"{_NBSP}\1", text)
    text = re.sub(r" ([;!?])", rf"{_THIN}\1", text)
    return text.replace("« ", f"«{_NBSP}")
