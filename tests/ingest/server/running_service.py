"""A running service, in this process, on a port of its own: for tests that talk to it."""

import threading
from contextlib import contextmanager

import httpx

import triage.store
from engine.config import load
from engine.service import Service
from ingest.sources import Limits, Source, Sources

GENEROUS = Limits(requests_per_s=1e9, packets_per_s=1e9, bytes_per_s=1e12)
ENROLMENT = "patient,cell,programmes\nN1,Nord,insuffisance_cardiaque\nS1,Sud,insuffisance_cardiaque\n"


class Running:
    """A service and what a test needs to talk to it."""

    def __init__(self, service, url, folder):
        self.service = service
        self.url = url
        self.folder = folder
        self.keys = {}

    def key(self, name="gw", **options):
        """Make a source and give its key."""
        if name not in self.keys:
            given = {"everyone": True, "limits": GENEROUS, **options}
            with_sources = Sources(self.folder / "sources")
            self.keys[name] = with_sources.create(Source(name, **given), "test")
            with_sources.close()
            # As another process would: seen at the next look.
            self.service.sources._looked = float("-inf")
        return self.keys[name]

    def client(self, name="gw", **options):
        headers = {"Authorization": f"Bearer {self.key(name, **options)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def caught_up(self):
        """Wait until all that was logged has gone through."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            for _ in range(2400):
                standing = client.get("/readyz").json()
                if not standing["lag_entries"]:
                    return standing
                threading.Event().wait(0.025)
        raise AssertionError(standing)


@contextmanager
def running(folder, **settings):
    """Run a service until the end of the block."""
    enrolment = folder / "enrolment.csv"
    enrolment.write_text(ENROLMENT)
    given = {
        "data": folder / "data",
        "port": 0,
        "enrolment": enrolment,
        "stop_s": 10,
        "hold_s": 0.01,
        **settings,
    }
    (folder / "data").mkdir(exist_ok=True)
    with triage.store.open(folder / "queue.sqlite") as store:
        service = Service(load(given=given, environment={})[0], store.apply)
        told = []
        up = threading.Event()
        thread = threading.Thread(target=service.run, args=(lambda url: (told.append(url), up.set()),))
        thread.start()
        try:
            assert up.wait(120)
            yield Running(service, told[0], folder / "data")
        finally:
            service.stop()
            thread.join(60)
            assert not thread.is_alive()
