"""What the sample pages show: a cell's queue, a year of weight, minutes of ECG. Seeded: the same at each run."""

import math
import random

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
SHAPES = {"rouge": "▲", "orange": "◆", "technique": "○"}

RATE_HZ = 250
WINDOW_S = 30
WINDOWS = 6


def spark(values, limit, label):
    """Points of a line in a box of 116 by 30, with the limit in the scale."""
    low, high = min([*values, limit]), max([*values, limit])

    def y(value):
        return round(27 - 24 * (value - low) / (high - low), 1)

    at = [(round(3 + 110 * i / (len(values) - 1), 1), y(value)) for i, value in enumerate(values)]
    return {
        "label": label,
        "limit": y(limit),
        "points": " ".join(f"{x},{y}" for x, y in at),
        "last": at[-1],
    }


def line(episode, level, name, age, phone, sentence, since_min, due_min=None, *, now_ms, state="new", **over):
    words = {"new": "Nouvelle", "claimed": "Prise", "called": "Appelée"}
    onset_ms = now_ms - since_min * MINUTE_MS
    return {
        "id": episode,
        "level": level,
        "shape": SHAPES[level],
        "patient": f"p{episode}",
        "name": name,
        "age": age,
        "phone": phone,
        "sentence": sentence,
        "onset_ms": onset_ms,
        "since": f"{since_min} min",
        "due_ms": None if due_min is None else now_ms + round(due_min * MINUTE_MS),
        "left": "" if due_min is None else f"{due_min} min",
        "state": state,
        "state_word": words[state],
    } | over


def queue(now_ms):
    """Give five lines in the order of the queue."""
    rising = [79.4, 79.3, 79.5, 79.2, 79.4, 79.3, 79.6, 79.4, 79.3, 79.5, 79.3, 80.2, 81.1, 81.9]
    return [
        line(
            "a1", "rouge", "Mme DURAND Jeanne", 78, "06 12 34 56 78",
            "Prise de 2,6 kg en 3 jours (limite 2 kg) et SpO₂ 88 % (limite 90 %)",
            2, 2.9, now_ms=now_ms,
            spark=spark(rising, 81.3, "Poids, 14 jours : de 79,2 à 81,9 kg, limite 81,3 kg"),
        ),
        line(
            "b2", "orange", "M. LEROY Bernard", 71, "06 98 76 54 32",
            "PAS moyenne 158 mmHg sur 3 jours (limite 150), 6 mesures",
            72, -8, now_ms=now_ms, state="claimed", who="par Karim B.",
            spark=spark([141, 139, 144, 148, 146, 150, 149, 152, 155, 151, 156, 159, 157, 160], 150,
                        "Pression systolique, 14 jours : de 139 à 160 mmHg, limite 150 mmHg"),
        ),
        line(
            "c3", "orange", "Mme N’GUYEN-LEFEBVRE Marie-Antoinette", 84, "07 11 22 33 44",
            "Essoufflement au repos : réponse « beaucoup » au questionnaire du jour, température 38,4 °C",
            31, 29, now_ms=now_ms,
        ),
        line(
            "d4", "orange", "M. BENALI Youssef", 66, "06 55 44 33 22",
            "Fibrillation atriale depuis 14 h 03, fréquence 124/min",
            12, 48, now_ms=now_ms, tag="protocole non signé",
        ),
        line(
            "e5", "technique", "M. PETIT Alain", 59, "06 00 11 22 33",
            "Aucune mesure depuis 2 jours et 4 h (balance, tensiomètre)",
            52 * 60, None, now_ms=now_ms,
        ),
    ]  # fmt: skip


def weight(now_ms, days=60):
    """Give a daily weight with a hole of six days, two late readings, and a limit that was changed."""
    draw = random.Random(1)
    start_ms = now_ms - days * DAY_MS
    t, values, late = [], [], []
    for day in range(days + 1):
        if 22 <= day < 28:
            continue
        rise = max(0, day - (days - 3)) * 0.85
        t.append(start_ms + day * DAY_MS + draw.randrange(40) * MINUTE_MS)
        values.append(round(79.4 + 0.25 * math.sin(day / 4) + draw.gauss(0, 0.12) + rise, 1))
        late.append(day in {14, 15})
    return {
        "t": t,
        "series": [{"label": "Poids", "unit": "kg", "values": values, "late": late}],
        "limits": [
            {"label": "Limite", "unit": "kg", "steps": [[t[0], 82.0], [start_ms + 35 * DAY_MS, 81.3]]}
        ],
        "gaps": [[t[21], t[22]]],
        "marks": [{"t_ms": now_ms - DAY_MS - 5 * HOUR_MS, "label": "Appel"}],
    }


def pressure(now_ms, days=60):
    """Give two pressures of each evening, but for the last four."""
    draw = random.Random(2)
    t = [now_ms - day * DAY_MS for day in range(days, 3, -1)]
    systolic = [round(132 + 6 * math.sin(i / 6) + draw.gauss(0, 4)) for i in range(len(t))]
    return {
        "t": t,
        "series": [
            {"label": "Systolique", "unit": "mmHg", "values": systolic},
            {"label": "Diastolique", "unit": "mmHg", "values": [round(s * 0.6) for s in systolic]},
        ],
        "limits": [{"label": "Limite systolique", "unit": "mmHg", "steps": [[t[0], 150]]}],
        "gaps": [[t[-1], now_ms]],
    }


def ecg(now_ms, window):
    """Give one window of a strip: a synthetic lead, regular first, irregular from the third window on."""
    draw = random.Random(window)
    irregular = window >= 2
    count = RATE_HZ * WINDOW_S
    signal = [0.02 * draw.gauss(0, 1) + 0.04 * math.sin(i / 300) for i in range(count)]
    beats = []
    at = 0.3
    while at < WINDOW_S - 0.5:
        i = round(at * RATE_HZ)
        ectopic = not irregular and len(beats) in {9, 21}
        beats.append([i, "V" if ectopic else "N"])
        waves = (
            [(0, -0.9, 0.05), (0.09, 1.4, 0.045), (0.28, -0.5, 0.06)]
            if ectopic
            else [(0, 1.15, 0.012), (0.035, -0.25, 0.012), (0.26, 0.28, 0.045)]
        )
        if not irregular and not ectopic:
            waves.append((-0.16, 0.13, 0.025))
        for offset_s, mv, width_s in waves:
            centre = at + offset_s
            for k in range(round((centre - 4 * width_s) * RATE_HZ), round((centre + 4 * width_s) * RATE_HZ)):
                if 0 <= k < count:
                    signal[k] += mv * math.exp(-(((k / RATE_HZ - centre) / width_s) ** 2) / 2)
        at += draw.uniform(0.38, 0.95) if irregular else 0.82 + draw.gauss(0, 0.01)
    return {
        "rate_hz": RATE_HZ,
        "start_ms": now_ms - HOUR_MS + window * WINDOW_S * 1000,
        "gain_uv": 5,
        "samples": [round(mv * 1000 / 5) + 40 for mv in signal],
        "beats": beats,
        "marks": [[0, count, "Fibrillation atriale" if irregular else "Rythme sinusal"]],
        "next": f"/data/ecg/{window + 1}.json" if window + 1 < WINDOWS else None,
    }
