"""What is asked of every process of Vigie: is it alive, is it caught up, what does it measure."""

import asyncio
from typing import Protocol

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from ingest.server import openapi

__all__ = ["Watched", "add_routes", "build"]


class Watched(Protocol):
    """What is asked, from any thread."""

    def standing(self) -> openapi.Standing:
        """Say how far the line is."""

    def expose(self) -> bytes:
        """Give all metrics as Prometheus reads them."""


def add_routes(app: FastAPI, watched: Watched) -> None:
    """Add ``/healthz``, ``/readyz`` and ``/metrics``."""

    async def healthz() -> openapi.Alive:
        """Say that the process answers."""
        return openapi.Alive(alive=True)

    async def readyz() -> Response:
        """Say whether what was received has gone through the line: 503 while it has not."""
        standing = await asyncio.to_thread(watched.standing)
        return JSONResponse(standing.model_dump(), 200 if standing.ready else 503)

    async def metrics() -> Response:
        """Give all metrics as Prometheus reads them."""
        text = await asyncio.to_thread(watched.expose)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    app.add_api_route("/healthz", healthz, methods=["GET"], summary="Alive")
    app.add_api_route("/readyz", readyz, methods=["GET"], **openapi.READY)
    app.add_api_route(
        "/metrics", metrics, methods=["GET"], response_class=PlainTextResponse, **openapi.METRICS
    )


def build(watched: Watched) -> FastAPI:
    """Make the interface of a process that takes nothing in."""
    app = FastAPI(title="Vigie worker", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    add_routes(app, watched)
    return app
