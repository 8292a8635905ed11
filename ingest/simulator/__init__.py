"""Simulated cohorts: a source like any other, seeded, with the truth beside it."""

from ingest.simulator.bodies import bodies, stream
from ingest.simulator.scenario import Cohort, Item, Scenario, SimulationError
from ingest.simulator.write import FORMATS, Summary, simulate

__all__ = [
    "FORMATS",
    "Cohort",
    "Item",
    "Scenario",
    "SimulationError",
    "Summary",
    "bodies",
    "simulate",
    "stream",
]
