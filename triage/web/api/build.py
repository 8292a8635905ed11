"""The interface put together, to be mounted at ``/api/v1``."""

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

from triage.web.api import administration, cell, entry, moves, patients, queue, workshop
from triage.web.api.door import Door, errors, said
from triage.web.hub import Hub
from triage.web.site import Site

__all__ = ["build"]


def build(site: Site, hub: Hub) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    site : Site
    hub : Hub
        Started and stopped by the caller.
    """
    app = FastAPI(
        title="Vigie",
        version="1",
        summary="The queue of a télésurveillance cell, for programs",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(HTTPBearer(auto_error=False))],
        responses=said(401, 403, 422, 429, 500),
    )
    door = Door(site)
    app.include_router(queue.routes(site, door, hub))
    for part in (moves, patients, entry, cell, workshop, administration):
        app.include_router(part.routes(site, door))
    errors(app)
    return app
