"""Coming in by an OpenID provider, such as Pro Santé Connect: going there, and coming back."""

import logging
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import RedirectResponse, Response

from triage.people.oidc import OidcError, Pending
from triage.people.person import PeopleError, Refused
from triage.web.pages.signin import let_in
from triage.web.site import Site

__all__ = ["routes"]

_LOGGER = logging.getLogger("vigie")
PENDING: Final = "vigie_openid"
"""Cookie of somebody who is at the provider."""


def routes(site: Site) -> APIRouter:
    """Make the pages; they are not there where no provider is configured."""
    router = APIRouter()

    def back(wrong: str) -> Response:
        return site.page("sign_in.html", None, 401, vers="/", wrong=wrong, login="", openid=site.openid_name)

    @router.get("/connexion/openid")
    def go() -> Response:
        if site.openid is None or site.seal is None:
            raise HTTPException(404)
        try:
            url, pending = site.openid.begin()
        except OidcError as error:
            _LOGGER.warning("%s", error)
            return back(error.plain)
        response = RedirectResponse(url, 303)
        response.set_cookie(
            PENDING, pending.sealed(site.seal), max_age=600, httponly=True, secure=site.https, samesite="lax"
        )
        return response

    @router.get("/connexion/openid/retour")
    def come(request: Request) -> Response:
        if site.openid is None or site.seal is None:
            raise HTTPException(404)
        try:
            pending = Pending.opened(request.cookies.get(PENDING, ""), site.seal)
            vouched = site.openid.finish(dict(request.query_params), pending)
        except PeopleError as error:
            _LOGGER.warning("%s", error)
            return back(error.plain)
        came = site.people.sign_in_subject(vouched.subject, site.wall_ms(), strong=vouched.strong)
        if isinstance(came, Refused):
            return back(came.plain)
        response = RedirectResponse("/", 303)
        response.delete_cookie(PENDING)
        return let_in(site, response, came.token)

    return router
