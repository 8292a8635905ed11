"""What each answer of the application carries and each request must keep to: headers, and where forms come from."""

import logging
import traceback
from collections.abc import Iterable, Mapping
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]

_LOGGER = logging.getLogger("vigie")

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Nothing from elsewhere, and nothing written into the page."""

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "X-Frame-Options": "DENY",
}

_SAFE = {"GET", "HEAD", "OPTIONS"}
_LARGEST = 1 << 20


class Guard:
    """Middleware: security headers on all that goes out; what changes something comes from our own pages.

    A browser says by `Sec-Fetch-Site` (or, an old one, by `Origin`) from where a form was sent. Requests with a token
    of the interface carry no cookie that another site could use, and are not asked. Each form brings the session's own
    word besides (`triage.web.site.Site.checked`).

    Parameters
    ----------
    app : ASGIApp
    https : bool
        Whether browsers reach it by HTTPS: they are told to come by nothing else.
    hosts : iterable of str
        Names by which it may be called; any where none is given.
    """

    def __init__(self, app: ASGIApp, *, https: bool, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._headers = dict(HEADERS)
        if https:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wrong = self._wrong(scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        if wrong:
            await _refusal(scope, wrong)(scope, receive, guarded)
            return
        try:
            await self._app(scope, receive, guarded)
        except Exception as error:  # noqa: BLE001 - the page that says so has been sent; the process goes on
            # Where it was and of which kind, not what it says: that may hold what somebody typed.
            where = traceback.extract_tb(error.__traceback__)[-1]
            _LOGGER.error(  # noqa: TRY400 - as said
                "page %s failed: %s in %s:%s",
                _route(scope),
                type(error).__name__,
                where.filename,
                where.lineno,
            )

    def _wrong(self, scope: Scope) -> str:
        said = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = said.get("host", "")
        if any(sign < " " or sign == "\x7f" for sign in scope["path"]) or b"%00" in scope.get(
            "query_string", b""
        ):
            return "no address of Vigie holds a control character"
        if self._hosts and host.rpartition(":")[0] not in self._hosts and host not in self._hosts:
            return "this is not a host of Vigie"
        length = said.get("content-length", "0")
        # Browsers and programs say how long a body is; one that comes in chunks could have any length.
        if "transfer-encoding" in said or not length.isdecimal() or int(length) > _LARGEST:
            return f"a body comes with its length, of 0 to {_LARGEST} bytes"
        if scope["method"] in _SAFE or "authorization" in said:
            return ""
        return "" if _from_us(said, host) else "this form comes from another site"


def _from_us(said: Mapping[str, str], host: str) -> bool:
    """Whether a form comes from our own pages, as far as its browser says."""
    if "sec-fetch-site" in said:
        return said["sec-fetch-site"] == "same-origin"
    return "origin" not in said or said["origin"].partition("://")[2] == host


def _refusal(scope: Scope, wrong: str) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"kind": "invalid", "message": wrong, "owner": None, "since": None}, 422)
    return PlainTextResponse(wrong, 403 if "another site" in wrong else 400)


def _route(scope: Scope) -> str:
    """Give the pattern of a path, without the names that are in it."""
    return str(getattr(scope.get("route"), "path", "?"))
