"""Coming in and going out, and one's own account: password, second factor."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from triage.people.person import PeopleError, Person, Refused
from triage.people.rights import Act
from triage.web.site import COOKIE, Site, inside

__all__ = ["let_in", "routes"]

Text = Annotated[str, Form(max_length=1000)]


def let_in(site: Site, response: Response, token: str) -> Response:
    """Give somebody the cookie of their session."""
    response.set_cookie(COOKIE, token, httponly=True, secure=site.https, samesite="lax", path="/")
    return response


def routes(site: Site) -> APIRouter:
    """Make the pages."""
    router = APIRouter()

    @router.get("/connexion")
    def ask(vers: Annotated[str, Query(max_length=2000)] = "/") -> Response:
        return site.page("sign_in.html", None, vers=vers, wrong="", login="", openid=site.openid_name)

    @router.post("/connexion")
    def sign_in(request: Request, login: Text, password: Text, code: Text = "", vers: Text = "/") -> Response:
        came = site.people.sign_in(login, password, code.replace(" ", ""), site.wall_ms())
        if isinstance(came, Refused):
            return site.page(
                "sign_in.html", None, 401, vers=vers, wrong=came.plain, login=login, openid=site.openid_name
            )
        return let_in(site, RedirectResponse(inside(vers, request), 303), came.token)

    @router.post("/deconnexion")
    def sign_out(request: Request) -> Response:
        token = request.cookies.get(COOKIE, "")
        if token:
            site.people.sign_out(token, site.wall_ms())
        response = RedirectResponse("/connexion", 303)
        response.delete_cookie(COOKIE, path="/")
        return response

    @router.get("/connexion/code")
    def ask_code(request: Request) -> Response:
        return site.page("code.html", site.person(request), wrong="")

    @router.post("/connexion/code")
    def show_code(request: Request, csrf: Text, code: Text) -> Response:
        person = site.checked(request, Act.OWN, csrf)
        refused = site.people.show_second(person, code.replace(" ", ""), site.wall_ms())
        if refused is not None:
            return site.page("code.html", person, 401, wrong=refused.plain)
        return RedirectResponse("/", 303)

    @router.get("/compte")
    def own(request: Request) -> Response:
        person = site.allowed(request, Act.OWN)
        return site.page("account.html", person, left=site.people.recovery_left(person.name))

    @router.get("/compte/mot-de-passe")
    def ask_password(request: Request) -> Response:
        return site.page("password.html", site.allowed(request, Act.OWN), wrong="")

    @router.post("/compte/mot-de-passe")
    def set_password(request: Request, csrf: Text, old: Text, new: Text, again: Text) -> Response:
        person = site.checked(request, Act.OWN, csrf)
        if new != again:
            return site.page(
                "password.html", person, 422, wrong="Les deux saisies du nouveau mot de passe diffèrent."
            )
        try:
            done = site.people.set_password(person, old, new, site.wall_ms())
        except PeopleError as error:
            return site.page("password.html", person, 422, wrong=error.plain)
        if isinstance(done, Refused):
            return site.page("password.html", person, 401, wrong=done.plain)
        return let_in(site, RedirectResponse("/", 303), done.token)

    def offer(person: Person, wrong: str = "", status: int = 200) -> Response:
        return site.page(
            "second.html",
            person,
            status,
            offer=site.people.offer_second(person, site.wall_ms()),
            wrong=wrong,
            codes=[],
        )

    @router.get("/compte/second-facteur")
    def ask_second(request: Request) -> Response:
        return offer(site.allowed(request, Act.OWN))

    @router.post("/compte/second-facteur")
    def set_second(request: Request, csrf: Text, code: Text) -> Response:
        person = site.checked(request, Act.OWN, csrf)
        try:
            codes = site.people.confirm_second(person, code.replace(" ", ""), site.wall_ms())
        except PeopleError as error:
            return offer(person, error.plain, 422)
        return site.page("second.html", person, offer=None, wrong="", codes=codes)

    return router
