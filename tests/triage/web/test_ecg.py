"""The ECG of an alert on its page: strips as the line writes them, to whoever may see the patient."""

import httpx
import polars as pl
import pytest

from engine import strips
from ingest.formats.lead import MISSING

RATE, GAIN = 250.0, 200.0
SINGLE, SECOND = 33, 34


def strip(episode, patient, lead=SINGLE, samples=(0, 100, MISSING, -40), **over):
    row = {
        "alert_id": episode, "patient": patient, "rule": "af", "level": "ROUGE", "sentence": "Rythme irrégulier",
        "lead": lead, "onset_ms": 1_790_000_010_000, "found_ms": 1_790_000_012_000, "start_ms": 1_790_000_000_000,
        "rate_hz": RATE, "gain": GAIN, "samples": list(samples), "beats": [1, 3], "classes": ["N", "V"],
        "rhythm": [
            {"label": "AFIB", "start": -500, "end": 3, "decided": 2},
            {"label": "no such rhythm", "start": 0, "end": 2, "decided": 1},
        ],
        "quality": [], "kernels": "fedcba9876543210",
    }  # fmt: skip
    return row | over


@pytest.fixture
def kept(site):
    """Write strips of a line of the queue into the site's history; give the line and the rows."""

    def write(patient, *rows, **over):
        episode = site.opened(patient, **over)
        made = [strip(episode, patient, **row) for row in rows]
        assert strips.write(site.site.history, pl.DataFrame(made, schema=strips.SCHEMA))
        return episode, made

    return write


def test_it_is_given_as_it_was_written(site, kept):
    episode, _ = kept("P3", {}, {"lead": SECOND, "samples": [7], "beats": [], "classes": None, "rhythm": []})
    with site.client("marie") as client:
        page = client.get("/patients/P3").text
        for lead in (SINGLE, SECOND):
            assert f'data-url="/patients/P3/ecg/{episode}/{lead}.json"' in page
        answer = client.get(f"/patients/P3/ecg/{episode}/{SINGLE}.json")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "rate_hz": RATE,
            "start_ms": 1_790_000_000_000,
            "gain_uv": 5.0,
            "samples": [0, 100, None, -40],
            "beats": [[1, "N"], [3, "V"]],
            "marks": [[0, 3, "Fibrillation atriale"]],
            "next": None,
        }
        other = client.get(f"/patients/P3/ecg/{episode}/{SECOND}.json").json()
        assert (other["samples"], other["beats"], other["marks"]) == ([7], [], [])


def test_what_is_not_there_is_not_found(site, kept):
    episode, _ = kept("P4", {})
    without = site.opened("P6")
    with site.client("marie") as client:
        for path in (
            f"/patients/P4/ecg/{episode}/{SECOND}.json",
            f"/patients/P6/ecg/{without}/{SINGLE}.json",
            f"/patients/P6/ecg/{episode}/{SINGLE}.json",  # another patient's
            f"/patients/P4/ecg/nowhere/{SINGLE}.json",
            f"/patients/P4/ecg/%2A/{SINGLE}.json",  # a pattern of files is no line
            f"/patients/nobody/ecg/{episode}/{SINGLE}.json",
        ):
            answer = client.get(path)
            assert answer.status_code == 404, path
            assert "samples" not in answer.text
        assert client.get(f"/patients/P4/ecg/{episode}/x.json").status_code in {404, 422}


def test_nobody_of_another_cell_and_nobody_without_signing_in(site, kept):
    episode, _ = kept("P7", {})
    path = f"/patients/P7/ecg/{episode}/{SINGLE}.json"
    with site.client("marie") as nord, site.client("luc") as sud, site.client("ops") as operator:
        assert nord.get(path).status_code == 200
        for client in (sud, operator):
            answer = client.get(path)
            assert answer.status_code in {403, 404}
            assert "samples" not in answer.text
    with httpx.Client(base_url=site.address, timeout=60) as nobody:
        answer = nobody.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/connexion")
