"""The table of signals: what a code in a packet means, in which unit, and what is plausible.

Every reading is kept as a whole number of thousandths of its unit (``int32``), so that 82.4 kg is 82400 and
a difference of two readings is exact. Units other than the table's are converted where a reading enters
(`ingest.formats`), never later.

Codes 1 to 255 are here; questionnaire items have codes from 256 to 4095 and are declared by protocols.
Plausible ranges: clinical reference section 3, marked [D] there; outside them a reading is quarantined and
visible, not corrected. LOINC codes: clinical reference section 6.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

__all__ = [
    "FIRST_ITEM",
    "MAX_CODE",
    "MILLI",
    "SIGNALS",
    "Kind",
    "Signal",
    "by_code",
    "by_name",
    "plausible_ranges",
]

MILLI = 1000
"""Readings are kept in thousandths of their unit."""

FIRST_ITEM = 256
MAX_CODE = 4095


class Kind(StrEnum):
    """How a signal is sampled."""

    SPOT = "spot"
    WAVEFORM = "waveform"
    DERIVED = "derived"
    ITEM = "item"


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of the table.

    `ring` names the series that the reading joins in a patient's state: heart rate from a cuff, an oximeter
    and an ECG keep their own codes in history and one common series for rules.
    """

    code: int
    name: str
    label_fr: str
    label_en: str
    ucum: str
    unit_fr: str
    low: float
    high: float
    decimals: int
    loinc: str = ""
    kind: Kind = Kind.SPOT
    gatt: str = ""
    ring: str = ""

    @property
    def series(self) -> str:
        """Name of the series in a patient's state."""
        return self.ring or self.name


_HR = "heart_rate"

SIGNALS: tuple[Signal, ...] = (
    Signal(1, "weight", "poids", "body weight", "kg", "kg", 25, 350, 1, "29463-7", gatt="2A9D"),
    Signal(
        2,
        "systolic",
        "pression systolique",
        "systolic pressure",
        "mm[Hg]",
        "mmHg",
        40,
        300,
        0,
        "8480-6",
        gatt="2A35",
    ),
    Signal(
        3,
        "diastolic",
        "pression diastolique",
        "diastolic pressure",
        "mm[Hg]",
        "mmHg",
        20,
        200,
        0,
        "8462-4",
        gatt="2A35",
    ),
    Signal(
        4,
        "mean_pressure",
        "pression moyenne",
        "mean pressure",
        "mm[Hg]",
        "mmHg",
        25,
        250,
        0,
        "8478-0",
        gatt="2A35",
    ),
    Signal(5, _HR, "fréquence cardiaque", "heart rate", "/min", "/min", 20, 300, 0, "8867-4", gatt="2A37"),
    Signal(
        6,
        "heart_rate_cuff",
        "pouls au tensiomètre",
        "pulse from the cuff",
        "/min",
        "/min",
        20,
        300,
        0,
        "8867-4",
        gatt="2A35",
        ring=_HR,
    ),
    Signal(
        7,
        "heart_rate_oximeter",
        "pouls à l'oxymètre",
        "pulse from the oximeter",
        "/min",
        "/min",
        20,
        300,
        0,
        "8867-4",
        gatt="2A5E",
        ring=_HR,
    ),
    Signal(
        8,
        "heart_rate_ecg",
        "fréquence cardiaque à l'ECG",
        "heart rate from the ECG",
        "/min",
        "/min",
        1,
        300,
        0,
        "8867-4",
        Kind.DERIVED,
        ring=_HR,
    ),
    Signal(
        9, "spo2", "saturation en oxygène", "oxygen saturation", "%", "%", 40, 100, 0, "59408-5", gatt="2A5E"
    ),
    Signal(10, "on_oxygen", "sous oxygène", "on oxygen", "1", "", 0, 1, 0),
    Signal(
        11, "temperature", "température", "body temperature", "Cel", "°C", 30, 43, 1, "8310-5", gatt="2A1C"
    ),
    Signal(
        12,
        "respiratory_rate",
        "fréquence respiratoire",
        "respiratory rate",
        "/min",
        "/min",
        3,
        70,
        0,
        "9279-1",
    ),
    Signal(13, "glucose", "glycémie", "blood glucose", "mg/dL", "mg/dL", 10, 1000, 0, "2339-0"),
    Signal(14, "height", "taille", "body height", "cm", "cm", 50, 250, 0, "8302-2"),
    Signal(15, "steps", "pas", "steps", "1", "pas", 0, 200_000, 0, "41950-7"),
    Signal(
        16,
        "systolic_standing",
        "pression systolique debout",
        "standing systolic pressure",
        "mm[Hg]",
        "mmHg",
        40,
        300,
        0,
        "8460-8",
    ),
    Signal(
        17,
        "diastolic_standing",
        "pression diastolique debout",
        "standing diastolic pressure",
        "mm[Hg]",
        "mmHg",
        20,
        200,
        0,
        "8454-1",
    ),
    Signal(18, "consciousness", "conscience altérée (ACVPU)", "not alert (ACVPU)", "1", "", 0, 1, 0),
    Signal(20, "battery", "batterie de l'appareil", "device battery", "%", "%", 0, 100, 0),
    Signal(
        32, "ecg_lead_i", "ECG dérivation I", "ECG lead I", "mV", "mV", -33, 33, 3, "11524-6", Kind.WAVEFORM
    ),
    Signal(
        33,
        "ecg_lead_ii",
        "ECG dérivation II",
        "ECG lead II",
        "mV",
        "mV",
        -33,
        33,
        3,
        "11524-6",
        Kind.WAVEFORM,
    ),
    Signal(
        34,
        "ecg_single",
        "ECG une dérivation",
        "ECG single lead",
        "mV",
        "mV",
        -33,
        33,
        3,
        "11524-6",
        Kind.WAVEFORM,
    ),
    Signal(40, "ecg_pause", "pause à l'ECG", "pause in the ECG", "s", "s", 0, 600, 1, "", Kind.DERIVED),
    Signal(
        41,
        "ecg_bradycardia",
        "fréquence sur 5 battements à l'ECG",
        "rate over 5 beats",
        "/min",
        "/min",
        1,
        300,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        42,
        "ecg_tachycardia",
        "fréquence sur 17 battements à l'ECG",
        "rate over 17 beats",
        "/min",
        "/min",
        1,
        300,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        43,
        "ecg_vf",
        "fibrillation ventriculaire",
        "ventricular fibrillation",
        "s",
        "s",
        0,
        86_400,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        44,
        "ecg_vt",
        "tachycardie ventriculaire",
        "ventricular tachycardia",
        "s",
        "s",
        0,
        86_400,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        45,
        "ecg_af",
        "fibrillation atriale",
        "atrial fibrillation",
        "s",
        "s",
        0,
        2_000_000,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        46,
        "ecg_af_rate",
        "fréquence en fibrillation atriale",
        "ventricular rate in AF",
        "/min",
        "/min",
        1,
        300,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        47,
        "ecg_af_burden",
        "charge en fibrillation atriale",
        "AF burden",
        "%",
        "%",
        0,
        100,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        48,
        "ecg_pvc_burden",
        "charge en extrasystoles ventriculaires",
        "PVC burden",
        "%",
        "%",
        0,
        100,
        1,
        "",
        Kind.DERIVED,
    ),
    Signal(
        49,
        "ecg_sve_burden",
        "charge en extrasystoles supraventriculaires",
        "SVE burden",
        "%",
        "%",
        0,
        100,
        1,
        "",
        Kind.DERIVED,
    ),
    Signal(
        50,
        "ecg_usable",
        "part du signal ECG exploitable",
        "usable share of the ECG",
        "%",
        "%",
        0,
        100,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        51,
        "ecg_nsvt",
        "salve ventriculaire",
        "ventricular run, not sustained",
        "s",
        "s",
        0,
        60,
        1,
        "",
        Kind.DERIVED,
    ),
    Signal(
        52,
        "ecg_svt",
        "tachycardie supraventriculaire",
        "supraventricular tachycardia",
        "s",
        "s",
        0,
        86_400,
        1,
        "",
        Kind.DERIVED,
    ),
    Signal(
        53,
        "ecg_couplets",
        "doublets ventriculaires par heure",
        "ventricular couplets an hour",
        "/h",
        "/h",
        0,
        10_000,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        54,
        "ecg_runs",
        "salves ventriculaires par heure",
        "ventricular runs an hour",
        "/h",
        "/h",
        0,
        10_000,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        55,
        "ecg_bigeminy",
        "épisodes de bigéminisme par heure",
        "episodes of bigeminy an hour",
        "/h",
        "/h",
        0,
        10_000,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        56,
        "ecg_trigeminy",
        "épisodes de trigéminisme par heure",
        "episodes of trigeminy an hour",
        "/h",
        "/h",
        0,
        10_000,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        57,
        "ecg_r_on_t",
        "extrasystoles R/T par heure",
        "R on T an hour",
        "/h",
        "/h",
        0,
        10_000,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        58,
        "ecg_rate_minute",
        "fréquence moyenne d'une minute à l'ECG",
        "mean rate of a minute of ECG",
        "/min",
        "/min",
        0,
        300,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        59,
        "ecg_sdnn",
        "SDNN sur 5 minutes",
        "SDNN of 5 minutes",
        "ms",
        "ms",
        0,
        3000,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        60,
        "ecg_rmssd",
        "RMSSD sur 5 minutes",
        "RMSSD of 5 minutes",
        "ms",
        "ms",
        0,
        3000,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        61,
        "ecg_pnn50",
        "pNN50 sur 5 minutes",
        "pNN50 of 5 minutes",
        "%",
        "%",
        0,
        100,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        62,
        "ecg_rate_hour",
        "fréquence moyenne d'une heure à l'ECG",
        "mean rate of an hour of ECG",
        "/min",
        "/min",
        0,
        300,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        63,
        "ecg_watched",
        "durée d'ECG analysée",
        "time of ECG analysed",
        "min",
        "min",
        0,
        120,
        0,
        "",
        Kind.DERIVED,
    ),
    Signal(
        64,
        "ecg_beats",
        "battements analysés",
        "beats analysed",
        "1",
        "battements",
        0,
        100_000,
        0,
        "",
        Kind.DERIVED,
    ),
)

_BY_NAME = {signal.name: signal for signal in SIGNALS}
_BY_CODE = {signal.code: signal for signal in SIGNALS}


def by_name(name: str) -> Signal:
    """Return the signal called `name`; KeyError names it when there is none."""
    return _BY_NAME[name]


def by_code(code: int) -> Signal:
    """Return the signal with `code`; KeyError when there is none."""
    return _BY_CODE[code]


def plausible_ranges(
    items: "dict[int, tuple[float, float]] | None" = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Give the plausible range of each code, for the decoder.

    Parameters
    ----------
    items : dict
        Questionnaire items that protocols declare: code to (lowest, highest) answer.

    Returns
    -------
    low, high : float64[MAX_CODE + 1]
        In the signal's unit. NaN where the code is not a spot signal that a packet may carry.
    """
    low = np.full(MAX_CODE + 1, np.nan)
    high = np.full(MAX_CODE + 1, np.nan)
    for signal in SIGNALS:
        if signal.kind is Kind.SPOT:
            low[signal.code], high[signal.code] = signal.low, signal.high
    for code, (lowest, highest) in (items or {}).items():
        if not FIRST_ITEM <= code <= MAX_CODE:
            msg = f"questionnaire item code {code}: legal are {FIRST_ITEM} to {MAX_CODE}"
            raise ValueError(msg)
        low[code], high[code] = lowest, highest
    return low, high
