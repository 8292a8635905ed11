"""Signing in by an OpenID provider, a real one on this machine; and every lie that it may tell is found."""

import importlib.util
import sys
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from cryptography.fernet import Fernet
from starlette.responses import JSONResponse, RedirectResponse, Response

from triage.people import backchannel, oidc
from triage.people.backchannel import Backchannel, legal
from triage.people.oidc import OidcError, OpenId, Pending, Provider, Vouched
from triage.people.seal import Seal

_spec = importlib.util.spec_from_file_location("oidc_provider", Path(__file__).parent / "provider.py")
provider_of = importlib.util.module_from_spec(_spec)
sys.modules["oidc_provider"] = provider_of
_spec.loader.exec_module(provider_of)


@pytest.fixture(scope="module")
def running():
    with provider_of.Provider() as provider:
        yield provider


@pytest.fixture
def provider(running):
    yield running
    running.twist.clear()
    running.asked.clear()


def settings(provider, **more):
    given = {
        "issuer": provider.issuer,
        "client_id": provider_of.CLIENT,
        "client_secret": provider_of.SECRET,
        "redirect": provider_of.REDIRECT,
        "discovery": f"{provider.issuer}/wallet-openid-configuration",
        "scopes": ("openid", "scope_all"),
        "acr_values": ("eidas1",),
        "claim": "SubjectNameID",
    }
    return Provider(**(given | more))


@pytest.fixture
def make(provider):
    made = []

    def make(wall_s=time.time, **more):
        made.append(OpenId(settings(provider, **more), wall_s=wall_s))
        return made[-1]

    yield make
    for each in made:
        each.close()


def visit(url):
    """What the browser does: goes to the provider, and comes back with what it was given."""
    answer = httpx.get(url, timeout=60)
    assert answer.status_code == 302, answer.text
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def test_somebody_comes_in_as_pro_sante_connect_has_them_come(make):
    openid = make()
    url, pending = openid.begin()
    asked = dict(parse_qsl(urlsplit(url).query))
    assert (asked["scope"], asked["acr_values"]) == ("openid scope_all", "eidas1")
    assert pending.verifier not in url
    assert openid.finish(visit(url), pending) == Vouched("899700012345", strong=True)


def test_the_claim_may_be_in_the_token(make, provider):
    openid = make(claim="sub", acr_values=(), discovery="", scopes=("openid",))
    url, pending = openid.begin()
    assert "acr_values" not in url
    assert openid.finish(visit(url), pending) == Vouched(provider_of.SUBJECT, strong=False)
    assert "/userinfo" not in provider.asked
    assert "/.well-known/openid-configuration" in provider.asked


def test_the_secret_may_go_into_the_form(make, provider):
    provider.twist["ways"] = ["client_secret_post", "private_key_jwt"]
    openid = make()
    url, pending = openid.begin()
    assert openid.finish(visit(url), pending).strong


def test_the_description_is_kept_and_the_keys_are_asked_for_each_time(make, provider):
    openid = make()
    for _ in range(2):
        url, pending = openid.begin()
        openid.finish(visit(url), pending)
    assert provider.asked.count("/wallet-openid-configuration") == 1
    assert provider.asked.count("/jwks") == 2


def refused(openid, change=lambda query: query):
    """The reason for the operator; the person is told nothing of it."""

    def come():
        url, pending = openid.begin()
        openid.finish(change(visit(url)), pending)

    with pytest.raises(OidcError) as error:
        come()
    assert error.value.plain.startswith("La connexion par ce service")
    reason = str(error.value)
    assert reason.startswith("openid: ")
    for secret in (provider_of.SECRET, provider_of.SUBJECT, "899700012345"):
        assert secret not in reason
    return reason


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nonce": "another"}, "InvalidClaimError nonce"),
        ({"nonce": None}, "MissingClaimError nonce"),
        ({"exp": NOW - 3600, "iat": NOW - 7200}, "ExpiredTokenError"),
        ({"exp": None}, "MissingClaimError exp"),
        ({"exp": "tomorrow"}, "InvalidClaimError exp"),
        ({"iat": NOW + 7200, "exp": NOW + 9000}, "InvalidClaimError iat"),
        ({"nbf": NOW + 7200}, "InvalidClaimError nbf"),
        ({"aud": "another client"}, "InvalidClaimError aud"),
        ({"aud": None}, "MissingClaimError aud"),
        ({"aud": [provider_of.CLIENT, "another"], "azp": "another"}, "InvalidClaimError azp"),
        ({"iss": "https://another.example"}, "InvalidClaimError iss"),
        ({"iss": None}, "MissingClaimError iss"),
        ({"sub": None}, "MissingClaimError sub"),
        ({"sub": 12}, "InvalidClaimError sub"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "InvalidClaimError at_hash"),
        ({"acr": "eidas0"}, "acr is 'eidas0'; asked for eidas1"),
        ({"acr": None}, "acr is 'NoneType'; asked for eidas1"),
    ],
)
def test_a_token_with_wrong_claims(make, provider, claims, reason):
    provider.twist["claims"] = claims
    assert reason in refused(make())


def test_a_token_that_nobody_signed_or_another_did(make, provider):
    openid = make()
    for raw in (
        provider_of.unsigned,
        provider_of.changed,
        lambda token: token[:-8],
        lambda _: "x.y.z",
        lambda _: "é",
    ):
        provider.twist["raw"] = raw
        assert "id_token: " in refused(openid)
    provider.twist.clear()
    provider.twist["sign"] = provider.other
    assert "BadSignatureError" in refused(openid)
    provider.twist = {"raw": lambda token: provider_of.shared(token, provider.key)}
    assert "id_token: UnsupportedAlgorithmError" in refused(openid)


def test_an_answer_to_another_question(make):
    openid = make()
    assert "state is not the one" in refused(openid, lambda query: query | {"state": "x"})
    assert "state is not the one" in refused(openid, lambda query: query | {"state": "é"})
    assert "state is not the one" in refused(
        openid, lambda query: {"code": query["code"], "iss": query["iss"]}
    )
    assert "of issuer 'https://other'" in refused(openid, lambda query: query | {"iss": "https://other"})
    assert "of issuer 'NoneType'" in refused(
        openid, lambda query: {name: value for name, value in query.items() if name != "iss"}
    )
    for code in ("", "x" * 5000):
        assert "no code" in refused(openid, lambda query, code=code: query | {"code": code})
    assert "status 400, 'invalid_grant'" in refused(openid, lambda query: query | {"code": "x"})
    assert "answers 'access_denied'" in refused(openid, lambda query: query | {"error": "access_denied"})
    long = refused(openid, lambda query: query | {"error": "x\n" * 1000})
    assert len(long) < 200
    assert "\n" not in long


def test_a_code_is_good_once_and_for_who_began(make):
    openid = make()
    url, pending = openid.begin()
    query = visit(url)
    # Another browser's verifier: a code that was stolen on its way is worth nothing.
    stolen = Pending(pending.state, pending.nonce, openid.begin()[1].verifier)
    with pytest.raises(OidcError, match="invalid_grant"):
        openid.finish(query, stolen)
    query = visit(url)
    openid.finish(query, pending)
    with pytest.raises(OidcError, match="invalid_grant"):
        openid.finish(query, pending)
    other = Pending(pending.state, "another nonce", pending.verifier)
    with pytest.raises(OidcError, match="InvalidClaimError nonce"):
        openid.finish(visit(url), other)


def test_the_clock_may_be_a_minute_off(make):
    for off, good in ((-55, True), (100, True), (130, False), (-3600, False)):
        openid = make(wall_s=lambda off=off: time.time() + off)
        if good:
            url, pending = openid.begin()
            assert openid.finish(visit(url), pending).strong
        else:
            refused(openid)


def test_a_wrong_secret(make):
    assert "status 401, 'invalid_client'" in refused(make(client_secret="wrong"))  # noqa: S106


def test_what_the_provider_says_of_the_user_is_of_the_same_one(make, provider):
    provider.twist["userinfo"] = {"sub": "another", "SubjectNameID": "1"}
    assert "another subject" in refused(make())
    for value in (None, 12, "", "x" * 256, ["1"], "é", "1\x00", "a b"):
        provider.twist["userinfo"] = {"sub": provider_of.SUBJECT, "SubjectNameID": value}
        assert "no claim SubjectNameID" in refused(make())


@pytest.mark.parametrize("path", ["/wallet-openid-configuration", "/token", "/jwks", "/userinfo"])
def test_answers_that_are_none(make, provider, path):
    for answer, reason in [
        (Response("no JSON"), "no JSON object"),
        (JSONResponse([1]), "no JSON object"),
        (Response("[" * 100_000), "no JSON object"),
        (Response("x" * (backchannel.MOST_BYTES + 1)), "more than 262144 bytes"),
        (RedirectResponse("https://elsewhere.example/"), "status 307"),
        (JSONResponse({"error": {"x": 1}}, 500), "status 500, 'dict'"),
    ]:
        provider.twist["answers"] = {path: answer}
        assert f"{path}: {reason}" in refused(make())


@pytest.mark.parametrize(
    "answer", [{}, {"id_token": "x"}, {"access_token": "x"}, {"access_token": "x", "id_token": 3}]
)
def test_tokens_that_are_none(make, provider, answer):
    provider.twist["answers"] = {"/token": JSONResponse(answer)}
    assert "in the provider's answer" in refused(make())


@pytest.mark.parametrize("keys", [{}, {"keys": []}, {"keys": [{"kty": "x"}]}, {"keys": "x"}, {"keys": [3]}])
def test_keys_that_are_none(make, provider, keys):
    provider.twist["answers"] = {"/jwks": JSONResponse(keys)}
    assert "id_token: " in refused(make())


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"issuer": "https://other.example"}, "calls itself 'https://other.example'"),
        ({"token_endpoint": "http://other.example/token"}, "not https"),
        ({"jwks_uri": None}, "jwks_uri 'NoneType': not https"),
        ({"userinfo_endpoint": 3}, "userinfo_endpoint 'int': not https"),
        ({"authorization_endpoint": "https://user@x.example"}, "not https"),
    ],
)
def test_a_description_that_is_none(make, provider, said, reason):
    provider.twist["discovery"] = said
    assert reason in refused(make())


def test_a_provider_that_is_not_there_or_never_ends(make, provider, monkeypatch):
    assert "ConnectError" in refused(make(discovery="http://127.0.0.1:9/x"))

    async def slowly():
        import asyncio

        for _ in range(100):
            yield b" "
            await asyncio.sleep(0.05)

    from starlette.responses import StreamingResponse

    monkeypatch.setattr(backchannel, "MOST_S", 0.2)
    provider.twist["answers"] = {"/jwks": StreamingResponse(slowly())}
    assert "/jwks: not whole after" in refused(make())


# ------------------------------------------------------------------------------------------- what waits, settings


def test_what_waits_in_the_browser_is_sealed_and_ends(monkeypatch):
    key = Fernet.generate_key().decode()
    seal, pending = Seal([key]), Pending("s", "n", "v")
    sealed = pending.sealed(seal)
    assert Pending.opened(sealed, seal) == pending
    assert len(sealed) < 1000
    for other in (
        "",
        "x",
        seal.close("[]"),
        seal.close('["x", 1]'),
        seal.close("marie:SECRET"),
        seal.close("3"),
    ):
        with pytest.raises(OidcError, match="nobody began here"):
            Pending.opened(other, seal)
    with pytest.raises(OidcError, match="nobody began here"):
        Pending.opened(sealed, Seal([Fernet.generate_key().decode()]))
    old = Fernet(key).encrypt_at_time(b'["openid", "s", "n", "v"]', int(time.time()) - oidc.PENDING_S - 1)
    with pytest.raises(OidcError, match="nobody began here"):
        Pending.opened(old.decode(), seal)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("issuer", ""),
        ("issuer", "http://auth.example"),
        ("redirect", "https://"),
        ("discovery", "file:///etc/passwd"),
        ("client_id", ""),
        ("client_secret", ""),
        ("claim", ""),
        ("scopes", ("profile",)),
        ("algorithms", ()),
        ("algorithms", ("RS256", "HS256")),
        ("algorithms", ("none",)),
    ],
)
def test_settings_that_cannot_be(provider, field, value):
    with pytest.raises(ValueError, match=f"openid .*{field}"):
        settings(provider, **{field: value})


def test_a_secret_is_in_nothing_that_is_printed(provider):
    shown = (
        repr(settings(provider))
        + repr(Pending("state", "nonce", "verifier"))
        + repr(Vouched("8997", strong=True))
    )
    for secret in (provider_of.SECRET, "'verifier'", "8997"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://auth.example/x?y", True),
        ("http://localhost:80", True),
        ("http://[::1]/", True),
        ("https://x.example:99999/", False),
        ("https://[::1", False),
        ("https://x.example/#f", False),
        ("ftp://x.example/", False),
        ("http://localhost.example/", False),
        ("https://x.example/\n", False),
        ("https://" + "x" * 1000, False),
    ],
)
def test_addresses(url, good):
    assert legal(url) is good


def test_a_client_of_ones_own_is_used(provider):
    """With a certificate of the client, as Pro Santé Connect may ask for."""
    seen = []
    client = httpx.Client(event_hooks={"request": [lambda request: seen.append(request.url.path)]})
    openid = OpenId(settings(provider), Backchannel(client))
    openid.begin()
    openid.close()
    assert seen == ["/wallet-openid-configuration"]
    assert client.is_closed
