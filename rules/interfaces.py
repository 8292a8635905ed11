"""What rules need to know of signals and statistics, which other packages own.

The table of signals is `ingest`'s and the catalogue of statistics is `kernels`'; rules take both as arguments and
import neither of the two tables.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol as Interface

__all__ = ["ParameterLike", "SignalLike", "Signals", "StatisticLike", "Statistics"]


class SignalLike(Interface):
    """What rules need to know of a signal."""

    @property
    def series(self) -> str:
        """Series that its readings join; a protocol names that one."""

    @property
    def kind(self) -> str:
        """``spot`` or ``derived`` for rules; a waveform has no features here."""

    @property
    def unit_fr(self) -> str:
        """Unit as a nurse reads it."""

    @property
    def decimals(self) -> int:
        """Decimals as a nurse reads it."""

    @property
    def low(self) -> float:
        """Lowest plausible value."""

    @property
    def high(self) -> float:
        """Highest plausible value."""


class ParameterLike(Interface):
    """What rules need to know of a statistic's parameter."""

    @property
    def name(self) -> str:
        """Key in a feature."""

    @property
    def doc(self) -> str:
        """What it is."""

    @property
    def required(self) -> bool:
        """Whether a feature must give it."""

    def encode(self, value: object) -> float:
        """Check and encode; ValueError says what is legal."""


class StatisticLike(Interface):
    """What rules need to know of a statistic."""

    @property
    def unit(self) -> str:
        """``same``, ``per_day``, ``count``, ``hours``, ``1`` or ``z``."""

    @property
    def window(self) -> str:
        """``none``, ``optional`` or ``required``."""

    @property
    def days_only(self) -> bool:
        """Whether the window must be in local days."""

    @property
    def min_days(self) -> int:
        """Shortest legal window."""

    @property
    def max_days(self) -> int:
        """Longest legal window; 0 for no bound."""

    @property
    def roles(self) -> tuple[str, ...]:
        """What each signal is, in order."""

    @property
    def min_series(self) -> int:
        """Fewest signals."""

    @property
    def max_series(self) -> int:
        """Most signals."""

    @property
    def parameters(self) -> Sequence[ParameterLike]:
        """Parameters of a feature."""

    @property
    def limit(self) -> str:
        """``none``, ``optional`` or ``required``."""

    @property
    def limit_doc(self) -> str:
        """What the limit is for."""


Signals = Mapping[str, SignalLike]
Statistics = Mapping[str, StatisticLike]
