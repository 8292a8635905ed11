"""A small real HTTP server of the sample pages, with a stream of events that a test sends."""

import functools
import json
import queue
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import jinja2
import samples

ROOT = Path(__file__).resolve().parent.parent.parent
STATIC = ROOT / "triage" / "web" / "static"
PAGES = Path(__file__).resolve().parent / "pages"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
ROUTES = {
    "/file": ("queue.html", "file"),
    "/patients/pa1": ("patient.html", ""),
    "/questionnaire": ("questionnaire.html", ""),
    "/connexion": ("sign_in.html", ""),
    "/alertes/a1/cloture": ("forms.html", ""),
    "/patients/pa1/samu": ("sheet.html", ""),
}
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PAGES), autoescape=True, undefined=jinja2.ChainableUndefined
)


class Site:
    """The server, on a free port of this machine.

    `send` gives an event to every open page; `cut` ends the streams and refuses new ones until `mend`.
    """

    def __init__(self):
        self.now_ms = time.time_ns() // 1_000_000
        self.rows = {row["id"]: row for row in samples.queue(self.now_ms)}
        self.counts = {"rouge": 1, "orange": 3, "technique": 1, "waiting": 5}
        self.fresh = {"new": 0, "rouge": 0}
        self.live = True
        self.signed_in = True
        self.heartbeat_s = 1.0
        self.asked = []
        self._streams = set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self):
        self.cut()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def send(self, name, data):
        with self._lock:
            for stream in self._streams:
                stream.put(f"event: {name}\ndata: {json.dumps(data)}\n\n")

    @property
    def streams(self):
        """How many pages listen."""
        return len(self._streams)

    def cut(self):
        with self._lock:
            self.live = False
            for stream in self._streams:
                stream.put(None)

    def mend(self):
        self.live = True

    def row(self, episode, **over):
        """Write one line of the queue with what is now different."""
        self.rows[episode] |= over
        return TEMPLATES.get_template("row.html").render(row=self.rows[episode])

    def page(self, name, tab=""):
        return TEMPLATES.get_template(name).render(
            now_ms=self.now_ms,
            here="/file",
            tab=tab,
            rows=self.rows.values(),
            row=self.rows["a1"],
            patient={"id": "pa1", "name": "Mme DURAND Jeanne", "age": 78, "phone": "06 12 34 56 78"},
        )

    @contextmanager
    def listening(self):
        """Keep the events of one page from now on, before it is told that it hears; None where the streams are cut."""
        events = queue.SimpleQueue()
        with self._lock:
            live = self.live
            if live:
                self._streams.add(events)
        try:
            yield events if live else None
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            with self._lock:
                self._streams.discard(events)

    def stream(self, events, write):
        """Send events to one page until the stream is cut or the page has gone."""
        write("retry: 300\n\n")
        while True:
            try:
                event = events.get(timeout=self.heartbeat_s)
            except queue.Empty:
                event = f"event: heartbeat\ndata: {json.dumps({'now_ms': time.time_ns() // 1_000_000})}\n\n"
            if event is None:
                return
            write(event)


class Handler(BaseHTTPRequestHandler):
    """One request; `site` is the server that it came to."""

    def __init__(self, site, *request):
        self.site = site
        super().__init__(*request)

    def do_GET(self):
        path = urlsplit(self.path).path
        self.site.asked.append(path)
        if path in ROUTES:
            self.answer(self.site.page(*ROUTES[path]))
        elif path.startswith("/static/"):
            self.file(STATIC / path.removeprefix("/static/"))
        elif path == "/live":
            self.events()
        elif path == "/live/counts":
            self.counts()
        elif path.startswith("/data/"):
            self.data(path)
        else:
            self.answer(f"<title>{path}</title><p>{path}</p>", status=404)

    def do_POST(self):
        self.site.asked.append(self.path)
        if self.path == "/alertes/groupe":
            self.answer("", status=303, Location="/file")
            return
        episode = self.path.split("/")[2]
        if self.site.rows[episode]["state"] != "new":
            self.answer(self.site.row(episode), status=409)
        elif self.headers.get("HX-Request"):
            self.answer(self.site.row(episode, state="claimed", state_word="Prise", who="par vous"))
        else:
            self.site.row(episode, state="claimed", state_word="Prise", who="par vous")
            self.answer("", status=303, Location="/file")

    def events(self):
        def write(text):
            self.wfile.write(text.encode())
            self.wfile.flush()

        with self.site.listening() as events:
            if events is None:
                self.answer("", status=503 if self.site.signed_in else 401)
                return
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.site.stream(events, write)

    def counts(self):
        if self.site.signed_in:
            self.answer(json.dumps(self.site.fresh | {"counts": self.site.counts}), kind="application/json")
        else:
            self.answer("", status=401)

    def data(self, path):
        name = path.removeprefix("/data/").removesuffix(".json")
        if name.startswith("ecg/"):
            given = samples.ecg(self.site.now_ms, int(name.removeprefix("ecg/")))
        else:
            given = {"weight": samples.weight, "pressure": samples.pressure}[name](self.site.now_ms)
        self.answer(json.dumps(given), kind="application/json")

    def file(self, path):
        if path.is_file() and path.resolve().is_relative_to(STATIC):
            self.answer(path.read_bytes(), kind=KINDS[path.suffix])
        else:
            self.answer("", status=404)

    def answer(self, body, *, status=200, kind="text/html", **headers):
        content = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass
