"""Units of files to the unit of each signal's table row; nowhere else is anything converted.

A unit is known by its UCUM code and by the spellings that exports use, in any case. A conversion is
``value * factor + shift``, in double precision, before the reading is rounded to thousandths.

Sources of the factors: the international pound and inch (exactly 0.45359237 kg and 2.54 cm); the conventional
millimetre of mercury (133.322387415 Pa); the kelvin at exactly 273.15 below the degree Celsius; the molar mass of
glucose, 180.156 g/mol.
"""

from dataclasses import dataclass

__all__ = ["Conversion", "Unit", "conversion", "legal_units", "units_of"]

_POUND_KG = 0.45359237
_INCH_CM = 2.54
_KPA_MMHG = 1000.0 / 133.322387415
_GLUCOSE_MG_DL = 18.0156  # of 1 mmol/L
_FAHRENHEIT_ZERO = 32.0
_KELVIN_SHIFT = -273.15


@dataclass(frozen=True, slots=True)
class Conversion:
    """To the signal's own unit: ``value * factor / divisor + shift``.

    A divisor is kept apart where it is exact and its inverse is not: 82400 g / 1000 is 82.4 kg.
    """

    factor: float = 1.0
    shift: float = 0.0
    divisor: float = 1.0


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: the name shown among legal ones, its other spellings (lower case) and the conversion from it."""

    name: str
    spellings: tuple[str, ...]
    to: Conversion


_SAME = Conversion()

# For each unit of the table of signals (UCUM), the units that are converted to it, itself first.
_UNITS: dict[str, tuple[Unit, ...]] = {
    "kg": (
        Unit("kg", ("kgs", "kilo", "kilos", "kilogram", "kilograms", "kilogramme", "kilogrammes"), _SAME),
        Unit("g", ("gram", "grams", "gramme", "grammes"), Conversion(divisor=1000.0)),
        Unit("[lb_av]", ("lb", "lbs", "pound", "pounds"), Conversion(_POUND_KG)),
        Unit("[stone_av]", ("st", "stone", "stones"), Conversion(14.0 * _POUND_KG)),
        Unit("[oz_av]", ("oz", "ounce", "ounces"), Conversion(_POUND_KG, divisor=16.0)),
    ),
    "mm[Hg]": (
        Unit("mm[Hg]", ("mmhg", "mm hg", "torr"), _SAME),
        # French pressures are often said in centimetres: 14/8.
        Unit("cm[Hg]", ("cmhg", "cm hg"), Conversion(10.0)),
        Unit("kPa", ("kilopascal", "kilopascals"), Conversion(_KPA_MMHG)),
    ),
    "/min": (
        Unit(
            "/min",
            (
                "1/min", "min-1", "min^-1", "min⁻¹", "/mn", "per minute", "par minute",
                "bpm", "{beats}/min", "{beat}/min", "beats/min", "beats/minute", "battements/min", "bat/min", "btt/min",
                "{breaths}/min", "breaths/min", "cycles/min", "c/min",
            ),
            _SAME,
        ),
    ),
    "%": (
        Unit("%", ("percent", "pct", "pour cent", "pourcent", "%{saturation}"), _SAME),
        # UCUM's "1" is a plain number: a saturation of 0.97.
        Unit("1", ("fraction", "{fraction}", "ratio"), Conversion(100.0)),
    ),
    "Cel": (
        Unit("Cel", ("°c", "ºc", "℃", "c", "degc", "deg c", "celsius", "degrees celsius", "degré celsius"), _SAME),
        Unit(
            "[degF]",
            ("°f", "ºf", "℉", "f", "degf", "deg f", "fahrenheit", "degrees fahrenheit"),
            Conversion(5.0, -_FAHRENHEIT_ZERO * 5.0 / 9.0, 9.0),
        ),
        Unit("K", ("kelvin", "kelvins"), Conversion(1.0, _KELVIN_SHIFT)),
    ),
    "mg/dL": (
        Unit("mg/dL", ("mg/100ml", "mg/100 ml", "mg%"), _SAME),
        Unit("mmol/L", (), Conversion(_GLUCOSE_MG_DL)),
        Unit("g/L", (), Conversion(100.0)),
    ),
    "cm": (
        Unit("cm", ("centimeter", "centimeters", "centimetre", "centimetres", "centimètre", "centimètres"), _SAME),
        Unit("m", ("meter", "meters", "metre", "metres", "mètre", "mètres"), Conversion(100.0)),
        Unit("mm", ("millimeter", "millimeters", "millimetre", "millimetres"), Conversion(divisor=10.0)),
        Unit("[in_i]", ("in", "inch", "inches", '"'), Conversion(_INCH_CM)),
        Unit("[ft_i]", ("ft", "foot", "feet", "'"), Conversion(12.0 * _INCH_CM)),
    ),
    "1": (
        Unit(
            "1",
            ("", "{steps}", "steps", "step", "pas", "{score}", "score", "{boolean}", "bool", "boolean", "count", "{#}"),
            _SAME,
        ),
    ),
}  # fmt: skip

_BY_SPELLING: dict[str, dict[str, Conversion]] = {
    ucum: {spelling.casefold(): unit.to for unit in units for spelling in (unit.name, *unit.spellings)}
    for ucum, units in _UNITS.items()
}


def units_of(ucum: str) -> tuple[Unit, ...]:
    """Give the units that are converted to `ucum`, itself first, with their spellings."""
    return _UNITS.get(ucum, ())


def legal_units(ucum: str) -> tuple[str, ...]:
    """Names of the units that are converted to `ucum`, itself first; spellings are not listed."""
    return tuple(unit.name for unit in _UNITS.get(ucum, ()))


def conversion(unit: str, ucum: str) -> Conversion | None:
    """Find the conversion from `unit`, as a file spells it, to `ucum`.

    Parameters
    ----------
    unit : str
        UCUM code or usual spelling; spaces around it and case do not matter. The empty text is a unit for
        plain numbers only.
    ucum : str
        Unit of the signal, as `ingest.signals` gives it.

    Returns
    -------
    Conversion or None
        None when `unit` is not one that can become `ucum`: the row goes to quarantine, it is never guessed.
    """
    return _BY_SPELLING.get(ucum, {}).get(unit.strip().casefold())
