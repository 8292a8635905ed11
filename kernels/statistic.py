"""What there is to say of a statistic that a protocol may ask for, and of its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

__all__ = ["PAR", "SERIES", "Parameter", "Statistic"]

PAR = 8
"""Places for parameters of a feature."""

SERIES = 8
"""Places for series of a feature."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a statistic.

    `slot` is its place in ``par``. `kind`: "number" (in the signal's unit when `in_unit`), "integer",
    "choice" (one of `choices`), or "minute" ("HH:MM" local, minutes since midnight). `low` and `high` bound
    what is legal. Without a `default` it must be given. `adds_days`: it lets the statistic look so many
    days further back than its window.
    """

    name: str
    slot: int
    kind: str
    doc: str
    low: float = float("-inf")
    high: float = float("inf")
    default: float | str | None = None
    choices: Mapping[str, float] = field(default_factory=dict)
    in_unit: bool = False
    adds_days: bool = False

    @property
    def required(self) -> bool:
        """Whether a protocol must give it."""
        return self.default is None

    def encode(self, value: object) -> float:
        """Turn what a protocol says into the number in ``par``.

        Raises
        ------
        ValueError
            Says what is legal.
        """
        if self.kind == "choice":
            if isinstance(value, str) and value in self.choices:
                return self.choices[value]
            msg = f"{self.name} = {value!r}: legal are {', '.join(self.choices)}"
            raise ValueError(msg)
        if self.kind == "minute":
            return self._minute(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            msg = f"{self.name} = {value!r}: must be a number"
            raise ValueError(msg)
        if not self.low <= value <= self.high:
            msg = f"{self.name} = {value!r}: legal is {self.low:g} to {self.high:g}"
            raise ValueError(msg)
        if self.kind == "integer" and value != int(value):
            msg = f"{self.name} = {value!r}: must be a whole number"
            raise ValueError(msg)
        return float(value)

    def _minute(self, value: object) -> float:
        hour, colon, minute = value.partition(":") if isinstance(value, str) else ("", "", "")
        if colon and len(hour) == len(minute) == 2 and (hour + minute).isdecimal():
            minutes = int(hour) * 60 + int(minute)
            if int(minute) < 60 and minutes <= 1440:
                return float(minutes)
        msg = f'{self.name} = {value!r}: must be a local time from "00:00" to "24:00"'
        raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic.

    Attributes
    ----------
    name : str
        As in protocols.
    op : int
        Number for `kernels.features.evaluate`.
    doc : str
        One sentence.
    unit : str
        "same" as the signal, "per_day" (the signal's unit a day), "count", "hours", "1", or "z" (in spreads).
    window : str
        "none", "optional" (without it: all readings) or "required".
    days_only : bool
        The window must be in local days.
    min_days, max_days : int
        Shortest and longest legal window in days (longest 0: no bound but the length of the series).
    roles : tuple of str
        What each series is, in order. A role ending in "..." repeats, up to SERIES in all.
    parameters : tuple of Parameter
        What the protocol gives.
    limit : str
        "none", "optional" or "required": whether the feature names a limit, and `limit_doc` for what.
    raw : bool
        Sees readings out of pattern too.
    """

    name: str
    op: int
    doc: str
    unit: str = "same"
    window: str = "required"
    days_only: bool = False
    min_days: int = 1
    max_days: int = 0
    roles: tuple[str, ...] = ("series",)
    parameters: tuple[Parameter, ...] = ()
    limit: str = "none"
    limit_doc: str = ""
    raw: bool = False

    @property
    def min_series(self) -> int:
        """Fewest series."""
        return len(self.roles)

    @property
    def max_series(self) -> int:
        """Most series."""
        return SERIES if self.roles[-1].endswith("...") else len(self.roles)

    def reach_days(self, window_days: float, given: Mapping[str, object]) -> float:
        """Say how many days of readings the statistic looks at: a patient's series must hold them.

        Parameters
        ----------
        window_days : float
            Length of its window, 0 for none.
        given : mapping
            Parameter name to value, as for `pack`.
        """
        par = self.pack(given)
        return (
            window_days + 1 + sum(par[parameter.slot] for parameter in self.parameters if parameter.adds_days)
        )

    def pack(self, given: Mapping[str, object]) -> tuple[float, ...]:
        """Give ``par : float64[PAR]`` for what a protocol says.

        Parameters
        ----------
        given : mapping
            Parameter name to value.

        Raises
        ------
        ValueError
            An unknown, missing or illegal parameter, and what is legal.
        """
        names = [parameter.name for parameter in self.parameters]
        for name in given:
            if name not in names:
                legal = ", ".join(names) or "none"
                msg = f"{self.name} has no parameter {name!r}: legal are {legal}"
                raise ValueError(msg)
        par = [float("nan")] * PAR
        for parameter in self.parameters:
            value = given.get(parameter.name, parameter.default)
            if value is None:
                msg = f"{self.name} needs the parameter {parameter.name!r}: {parameter.doc}"
                raise ValueError(msg)
            par[parameter.slot] = parameter.encode(value)
        return tuple(par)
