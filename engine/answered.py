"""Whether somebody answers, today, for the protocols that a service runs: looked at when it starts, and measured."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.config import Settings
from rules.errors import Mistake, ProtocolError
from rules.protocol import Protocol
from rules.signature import Standing, problem, standing

__all__ = ["Answered", "at_start", "look", "today"]

_LOGGER = logging.getLogger("vigie")


def today(zone: str) -> date:
    """Give the date in a time zone."""
    return datetime.now(ZoneInfo(zone)).date()


def look(protocols: Sequence[Protocol], on: date, *, refuse: bool = False) -> list[str]:
    """Say for which protocols nobody answers on a date: unsigned, altered since, or out of their validity.

    Parameters
    ----------
    protocols : sequence of Protocol
    on : date
    refuse : bool
        Whether such protocols are not to be run at all.

    Raises
    ------
    ProtocolError
        With `refuse`, and there is one.
    """
    problems = {each.id: said for each in protocols if (said := problem(each, on))}
    if refuse and problems:
        legal = 'a signature that holds today (vigie protocol sign), or unsigned_protocols = "warn"'
        raise ProtocolError([Mistake(name, 0, "", said, legal) for name, said in problems.items()])
    return list(problems.values())


def at_start(settings: Settings, protocols: Sequence[Protocol], registry: CollectorRegistry) -> None:
    """Look at the protocols of a service that starts: warn of them, and measure how they stand from now on.

    Raises
    ------
    ProtocolError
        The settings say that such protocols are not to be run.
    """
    for said in look(protocols, today(settings.zone), refuse=settings.unsigned_protocols == "refuse"):
        _LOGGER.warning("%s", said)
    registry.register(Answered(protocols, settings.zone))


class Answered(Collector):
    """How the protocols of a service stand, for its metrics: a signature may end while it runs.

    Parameters
    ----------
    protocols : sequence of Protocol
    zone : str
        Whose date counts.
    """

    def __init__(self, protocols: Sequence[Protocol], zone: str) -> None:
        self._protocols = tuple(protocols)
        self._zone = zone

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: the names are all ours."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        signed = GaugeMetricFamily(
            "vigie_protocol_signed",
            "1: signed, as it is, and within its validity",
            labels=["protocol", "version", "standing"],
        )
        on = today(self._zone)
        for each in self._protocols:
            stands = standing(each, on)
            signed.add_metric([each.id, each.version, stands.value], float(stands is Standing.SIGNED))
        yield signed
