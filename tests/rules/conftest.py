"""Signals and statistics as rules see them, and a protocol to spoil."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.signals import SIGNALS
from kernels.catalogue import STATISTICS
from rules.evaluate import groups
from rules.protocol import Protocol, loads

SHIPPED = Path(__file__).resolve().parents[2] / "rules" / "protocols"

GOOD = """\
id = "essai"
version = "1.0.0"
title = "Essai"
line = "essai"
signature = "to be signed by a clinician"

[signals.weight]
max_step_per_day = 5.0

[signals.spo2]

[questionnaires.jour]
title = "Questions"
[[questionnaires.jour.items]]
code = 256
name = "tired"
label = "Fatigué ?"
choices = ["non", "un peu", "beaucoup"]

[features.gain_3d]
signal = "weight"
stat = "rise"
window = "3d"
label = "prise de poids"

[features.drift]
signal = "weight"
stat = "drift"
limit = "dry_kg"
label = "écart"

[features.pain]
signal = "tired"
stat = "last"
window = "1d"
label = "fatigue"

[limits.gain_kg]
label = "prise de poids"
default = 2.0
unit = "kg"
min = 0.5
max = 5
source = "ESC"
mark = "S17"

[limits.dry_kg]
label = "poids sec"
unit = "kg"
min = 30
max = 250
source = "clinician"
mark = "G"

[[rules]]
id = "gain"
problem = "congestion"
level = "ORANGE"
when = "gain_3d >= gain_kg"
clear_when = "gain_3d < gain_kg - 0.3"
raise_delay = "30m"
text = "Prise de {gain_3d} en 3 jours (limite {gain_kg})."

[[rules]]
id = "tired_gain"
problem = "congestion"
level = "ROUGE"
when = "gain_3d >= gain_kg AND pain = 2"
text = "Prise de {gain_3d}, fatigue : {pain} ; écart {drift} à {dry_kg}."

[[non_transmission]]
id = "no_weight"
signals = ["weight"]
orange_after = "2d"
rouge_after = "4d"
text = "Aucun poids depuis {silence}."

[[tests]]
name = "gain"
series = { weight = "80 80.2 _ 80.1x3 82.4" }
expect = [{ rule = "gain", level = "ORANGE", at = "day 7" }]
verdicts = { gain = "true", tired_gain = "undetermined" }
"""


@dataclass(frozen=True)
class World:
    signals: dict
    statistics: dict

    def loads(self, text: str = GOOD, file: str = "essai.toml") -> Protocol:
        return loads(text, file, self.signals, self.statistics)


@pytest.fixture(scope="session")
def world() -> World:
    return World({signal.name: signal for signal in SIGNALS}, dict(STATISTICS))


@pytest.fixture(scope="session")
def protocol(world: World) -> Protocol:
    return world.loads()


@pytest.fixture(scope="session")
def good() -> str:
    return GOOD


@pytest.fixture(scope="session", params=sorted(path.stem for path in SHIPPED.glob("*.toml")))
def shipped(request, world) -> Protocol:
    path = SHIPPED / f"{request.param}.toml"
    return world.loads(path.read_text(encoding="utf-8"), str(path))


@pytest.fixture(scope="session")
def all_groups(world):
    texts = [(path.read_text(encoding="utf-8"), path.name) for path in sorted(SHIPPED.glob("*.toml"))]
    return [group for text, name in texts for group in groups(world.loads(text, name))]
