"""The HTTP interface of intake: packets in, what became of them out, and how the service is.

A handler does little: who is it, may it send now, read the body, hand it in, wait for the disk. What is said of
statuses and bodies is in `ingest.server.openapi`, at ``/openapi.json``, and tested against it.
"""

import asyncio
import json
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, time_ns
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from ingest.admission import Answer, Body
from ingest.intake import Intake
from ingest.log import LogBusyError, LogDiskFullError, LogError
from ingest.server import openapi
from ingest.server.body import (
    BadBodyError,
    BadEncodingError,
    NoRoomError,
    Room,
    TooLargeError,
    collect,
    expand,
)
from ingest.server.door import Door, TurnedDownError
from ingest.server.once import Once
from ingest.server.watch import Watched, add_routes
from ingest.sources import Refusal, Source, Sources

__all__ = ["Service", "build"]

_LOGGER = logging.getLogger("vigie.intake")
_INLINE = 1 << 15
"""Compressed bodies larger than this are expanded beside the event loop."""
_MOST_ROWS = 1000
_HELD = 1000
"""Refusals that are held back at once; a stranger with more connections than that gets the others at once."""
_ROOM, _ROOM_OF_ONE = 256 << 20, 64 << 20
"""Bytes of bodies in memory, in all and of one source."""
_STREAMS_OF_ONE = 8
"""Connections that stay, of one source: each may hold a few bodies."""
_SMALL = 1 << 16
"""Bytes of a body that is refused unread, up to which the connection is kept."""
_TOO_MANY = 4429
_GONE = 4401  # of a WebSocket: the key is not good; 4000 to 4999 are an application's own


class Service(Watched, Protocol):
    """What the interface asks of the rest of the service. All but `answered` may be called from any thread."""

    def refused(self, source: str, after: tuple[int, int], at_most: int) -> list[openapi.RefusedPacket]:
        """Give rows of quarantine of a source, from behind a place (offset, at) on."""

    def answered(self, source: str, status: int, seconds: float) -> None:
        """Take note of an answer to a body."""


def build(
    intake: Intake, sources: Sources, service: Service, *, body_s: float = 60.0, hold_s: float = 1.0
) -> ASGIApp:
    """Make the interface.

    Parameters
    ----------
    intake : Intake
    sources : Sources
    service : Service
    body_s : float
        Seconds that the body of a request may take.
    hold_s : float
        Seconds for which the answer to a request without a good key, or over a limit, is held back: who does not
        wait when told to is made to, and costs nothing meanwhile.
    """
    app = FastAPI(
        title="Vigie intake",
        version="1",
        summary="Packets of vital signs in; what became of each out.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the address in a redirect would be what the request says of the host
    )
    desk = _Desk(intake, sources, service, body_s, hold_s)
    app.add_api_route("/v1/packets", desk.packets, methods=["POST"], **openapi.PACKETS)
    app.add_api_route("/v1/quarantine", desk.quarantine, methods=["GET"], **openapi.QUARANTINE)
    app.add_api_websocket_route("/v1/stream", desk.stream)
    add_routes(app, service)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_parameter)
    described = app.openapi

    def description() -> dict[str, Any]:
        said = described()
        said.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        return said

    app.openapi = description  # type: ignore[method-assign]  # as FastAPI says to do it
    return _straight(app, desk)


def _straight(app: ASGIApp, desk: "_Desk") -> ASGIApp:
    """Send packets straight to their handler: routes, middleware and parameters take twice as long as it does."""

    async def straight(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/v1/packets" and scope["method"] == "POST":
            response = await desk.packets(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await app(scope, receive, send)

    return straight


class _Desk:
    """The handlers."""

    def __init__(
        self, intake: Intake, sources: Sources, service: Service, body_s: float, hold_s: float
    ) -> None:
        self._intake = intake
        self._sources = sources
        self._service = service
        self._body_s = body_s
        self._hold_s = hold_s
        self._held = 0
        self._room = Room(_ROOM, _ROOM_OF_ONE)
        self._streams: Counter[str] = Counter()
        self._door = Door(sources)
        self._once = Once()
        self._expanding = asyncio.Semaphore(1)

    # Packets -------------------------------------------------------------------------------------------------

    async def packets(self, request: Request) -> Response:
        """Take a body of concatenated packets; the answer comes when it is on the disk."""
        begun = monotonic()
        name = ""
        try:
            source = self._door.enter(request.headers.get("authorization", ""))
            name = source.name
            with self._room.part(name) as take:
                data = await self._read(request, source, take)
                key = request.headers.get("idempotency-key")
                if key is None:
                    answer = await self._take(source, data)
                else:
                    answer = await self._once.do(name, key, data, lambda: self._take(source, data))
            response = Response(_as_json(answer), 202, media_type="application/json")
        except TurnedDownError as error:
            await self._hold(error)
            response = self._turn_down(error, name)
            if error.status in {401, 429} and _size(request) > _SMALL:
                response.headers["Connection"] = "close"  # else all of it would be read for nothing
        except ClientDisconnect:
            response = Response(status_code=400)  # to nobody
        except Exception:
            _LOGGER.exception("a fault of Vigie itself")
            response = _problem(
                500, "a fault of the service; whether it was taken is not known: send it again"
            )
        self._service.answered(name, response.status_code, monotonic() - begun)
        return response

    async def _read(self, request: Request, source: Source, take: Callable[[int], None]) -> bytes:
        most = source.limits.body_bytes
        if (size := _size(request)) > most:
            raise TurnedDownError(413, Refusal.TOO_LARGE, f"a body of {size} bytes: legal are 0 to {most}")
        try:
            async with asyncio.timeout(self._body_s):
                data = await collect(request.stream(), most, take)
        except NoRoomError:
            message = "too many bodies are on their way, nothing was taken; send again later"
            raise TurnedDownError(503, Refusal.BUSY, message, 2.0) from None
        except TimeoutError:
            message = f"the body took more than {self._body_s:g} s"
            raise TurnedDownError(408, Refusal.BAD_BODY, message) from None
        except TooLargeError as error:
            raise TurnedDownError(413, Refusal.TOO_LARGE, str(error)) from None
        encoding = request.headers.get("content-encoding", "")
        return await self._expand(source, data, encoding) if encoding else data

    async def _expand(self, source: Source, data: bytes, encoding: str) -> bytes:
        most = source.limits.body_bytes
        try:
            if len(data) <= _INLINE and encoding != "zstd":
                return expand(data, encoding, most)
            # One at a time: what would fill memory or take all cores waits for its like.
            async with self._expanding:
                return await asyncio.to_thread(expand, data, encoding, most)
        except BadEncodingError as error:
            raise TurnedDownError(415, Refusal.BAD_BODY, str(error)) from None
        except (BadBodyError, TooLargeError) as error:
            self._door.quota(source).spoil()
            status = 413 if isinstance(error, TooLargeError) else 400
            why = Refusal.TOO_LARGE if status == 413 else Refusal.BAD_BODY
            raise TurnedDownError(status, why, str(error)) from None

    async def _take(self, source: Source, data: bytes) -> Answer:
        try:
            ticket = self._intake.put(Body(source, data, time_ns() // 1_000_000))
            answer = await asyncio.wrap_future(ticket)
        except LogError as error:
            raise _busy(error) from None
        self._door.quota(source).charge(len(data), answer)
        return answer

    async def _hold(self, error: TurnedDownError) -> None:
        """Let somebody wait who asks again and again."""
        if error.status not in {401, 429} or self._held >= _HELD:
            return
        self._held += 1
        try:
            await asyncio.sleep(self._hold_s)
        finally:
            self._held -= 1

    def _turn_down(self, error: TurnedDownError, source: str) -> Response:
        self._note(error, source)
        headers: dict[str, str] = {}
        if error.wait_s > 0:
            headers["Retry-After"] = str(error.retry_after)
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if error.status in {408, 413}:
            headers["Connection"] = "close"  # the rest of the body is not read
        return _problem(error.status, str(error), headers)

    def _note(self, error: TurnedDownError, source: str) -> None:
        """Record a refusal, unless the door has."""
        if source and error.why is not Refusal.TOO_MANY:
            self._sources.refused(source, error.why)

    # A connection that stays ---------------------------------------------------------------------------------

    async def stream(self, socket: WebSocket) -> None:
        """Take bodies over a connection that stays: each binary message is one, each answer is one text message."""
        # A sender may go while it is answered: what was taken is in the log, and is known when it comes again.
        with suppress(WebSocketDisconnect):
            await self._stream(socket)

    async def _stream(self, socket: WebSocket) -> None:
        authorization = socket.headers.get("authorization", "")
        try:
            source = self._door.tell(authorization)
        except TurnedDownError as error:
            await socket.close(_GONE, str(error))
            return
        if self._streams[source.name] >= _STREAMS_OF_ONE:
            self._sources.refused(source.name, Refusal.TOO_MANY)
            await socket.close(_TOO_MANY, f"this source holds {_STREAMS_OF_ONE} connections already")
            return
        self._streams[source.name] += 1
        try:
            await socket.accept()
            await self._listen(socket, authorization)
        finally:
            self._streams[source.name] -= 1

    async def _listen(self, socket: WebSocket, authorization: str) -> None:
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            begun = monotonic()
            name = ""
            try:
                # Each time: a key that was revoked meanwhile is no longer good.
                source = self._door.enter(authorization)
                name = source.name
                said = {"status": 202, **_as_dict(await self._take(source, _binary(message, source)))}
            except TurnedDownError as error:
                await self._hold(error)
                self._note(error, name)
                said = {"status": error.status, "error": str(error), "retry_after": error.retry_after}
            self._service.answered(name, said["status"], monotonic() - begun)
            await socket.send_text(json.dumps(said))
            if said["status"] == 401:
                await socket.close(_GONE, said["error"])
                return

    # The rest ------------------------------------------------------------------------------------------------

    async def quarantine(
        self,
        request: Request,
        after: Annotated[str, Query(pattern=r"^[0-9]{1,18}\.[0-9]{1,18}$")] | None = None,
        limit: Annotated[int, Query(ge=1, le=_MOST_ROWS)] = 100,
    ) -> Response:
        """Show what was refused of the source that asks, oldest first."""
        try:
            source = self._door.enter(request.headers.get("authorization", ""))
        except TurnedDownError as error:
            return self._turn_down(error, "")
        offset, _, at = (after or "").partition(".")
        place = (int(offset), int(at)) if after else (-1, -1)
        rows = await asyncio.to_thread(self._service.refused, source.name, place, limit + 1)
        page = rows[:limit]
        more = f"{page[-1].offset}.{page[-1].at}" if len(rows) > limit else None
        return JSONResponse(openapi.RefusedPage(packets=page, next=more).model_dump())


def _size(request: Request) -> int:
    """Give what a request says of the size of its body; 0 where it says nothing."""
    said = request.headers.get("content-length", "")
    return int(said) if said.isdecimal() and len(said) < 20 else 0


def _binary(message: Any, source: Source) -> bytes:  # noqa: ANN401 - a message of ASGI
    data: bytes | None = message.get("bytes")
    if data is None:
        raise TurnedDownError(415, Refusal.BAD_BODY, "a text message: legal are binary ones, each a body")
    most = source.limits.body_bytes
    if len(data) > most:
        raise TurnedDownError(413, Refusal.TOO_LARGE, f"a body of {len(data)} bytes: legal are 0 to {most}")
    return data


def _busy(error: LogError) -> TurnedDownError:
    """Say to a sender, who need not know our paths, that the log did not take it; to the operator, why."""
    if isinstance(error, LogBusyError):
        message = "more arrives than the disk takes, nothing was taken; send again later"
        return TurnedDownError(503, Refusal.BUSY, message, 2.0)
    _LOGGER.error("%s", error)
    if isinstance(error, LogDiskFullError):
        return TurnedDownError(
            507, Refusal.BUSY, "the disk is full, nothing was taken; send again later", 30.0
        )
    return TurnedDownError(503, Refusal.BUSY, "the log takes nothing now; send again later", 10.0)


def _problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    number = secrets.token_hex(6)
    _LOGGER.log(
        logging.WARNING if status >= 500 else logging.DEBUG, "request %s: %d %s", number, status, message
    )
    return JSONResponse(
        {"error": message, "request": number}, status, {"X-Request-Id": number, **(headers or {})}
    )


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these
    return _problem(error.status_code, error.detail.lower(), dict(error.headers or {}))


async def _on_parameter(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for these
    said = "; ".join(
        f"{each['loc'][-1]}: {each['msg'][:1].lower()}{each['msg'][1:]}" for each in error.errors()
    )
    return _problem(422, said)


def _as_dict(answer: Answer) -> dict[str, Any]:
    return {"accepted": answer.accepted, "duplicate": answer.duplicate, "quarantined": answer.quarantined}


def _as_json(answer: Answer) -> bytes:
    refused = json.dumps(answer.quarantined) if answer.quarantined else "{}"
    said = f'{{"accepted":{answer.accepted},"duplicate":{answer.duplicate},"quarantined":{refused}}}'
    return said.encode()
