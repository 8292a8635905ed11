"""What the interface says of itself: the bodies of its answers, and when it gives which."""

from typing import Any

from pydantic import BaseModel, Field

from ingest.server.body import ENCODINGS
from ingest.server.once import MAX_KEY

__all__ = [
    "METRICS",
    "PACKETS",
    "QUARANTINE",
    "READY",
    "Alive",
    "Problem",
    "Received",
    "RefusedPacket",
    "RefusedPage",
    "Standing",
]


class Received(BaseModel):
    """What became of the packets of a body, which is durable."""

    accepted: int = Field(ge=0, description="to be applied")
    duplicate: int = Field(ge=0, description="seen before by this intake: logged again, without effect")
    quarantined: dict[str, int] = Field(description="by reason, see the packet format")


class Problem(BaseModel):
    """Why a request was turned down."""

    error: str
    request: str = Field(description="number of this request in the service's messages")


class RefusedPacket(BaseModel):
    """A packet in quarantine."""

    offset: int = Field(description="entry of the log")
    at: int = Field(description="place in its body")
    receipt_ms: int
    reason: str
    raw: str = Field(description="its bytes in hexadecimal, at most 4096 of them")


class RefusedPage(BaseModel):
    """Packets in quarantine, oldest first; the newest ten thousand are kept."""

    packets: list[RefusedPacket]
    next: str | None = Field(description="value of `after` for what follows; null at the end")


class Alive(BaseModel):
    """The process answers."""

    alive: bool


class Standing(BaseModel):
    """Whether what was received has gone through the line."""

    ready: bool
    lag_entries: int = Field(description="entries of the log that wait")
    lag_packets: int = Field(description="packets in them, estimated from those that went before")
    lag_s: float = Field(description="how long the oldest of them has waited")
    problems: list[str] = Field(description="what an operator must look at")


def _answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": _TURNED_DOWN[status]} for status in statuses}


_TURNED_DOWN = {
    400: "the body cannot be read",
    401: "no key, or not a good one",
    408: "the body came too slowly",
    413: "the body is too large, or expands to too much",
    415: "an encoding that is not known",
    422: "a parameter or a header is not legal",
    429: "over a limit of the source: wait for Retry-After seconds",
    500: "a fault of the service: send again",
    503: "nothing was taken: send again after Retry-After seconds",
    507: "the disk is full, nothing was taken: send again after Retry-After seconds",
}
_KEY: dict[str, Any] = {"security": [{"key": []}]}


def _header(name: str, schema: dict[str, Any], about: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": about}


PACKETS: dict[str, Any] = {
    "summary": "Send packets",
    "status_code": 202,
    "response_model": Received,
    "responses": _answers(400, 401, 408, 413, 415, 422, 429, 500, 503, 507),
    "openapi_extra": {
        **_KEY,
        "parameters": [
            _header(
                "Idempotency-Key",
                {"type": "string", "pattern": f"^[ -~]{{1,{MAX_KEY}}}$"},
                "a retry with the same key and body gives the first answer and is logged once",
            ),
            _header("Content-Encoding", {"type": "string", "enum": list(ENCODINGS)}, "of the body"),
        ],
        "requestBody": {
            "required": True,
            "description": "packets one after the other, see the packet format",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
    },
}
QUARANTINE: dict[str, Any] = {
    "summary": "See what was refused",
    "response_model": RefusedPage,
    "responses": _answers(401, 422, 429),
    "openapi_extra": _KEY,
}
READY: dict[str, Any] = {
    "summary": "Caught up",
    "response_model": Standing,
    "responses": {503: {"model": Standing, "description": "not caught up, or something is wrong"}},
}
METRICS: dict[str, Any] = {
    "summary": "Metrics",
    "responses": {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
}
