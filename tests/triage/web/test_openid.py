"""Coming in by an OpenID provider over the pages: a real provider on this machine."""

import importlib.util
import re
import sys
from pathlib import Path

import httpx
import pytest

from triage.people import oidc, seal
from triage.people.administration import NewAccount
from triage.people.person import Role

_spec = importlib.util.spec_from_file_location(
    "oidc_provider_of_pages", Path(__file__).parents[1] / "people" / "provider.py"
)
provider_of = importlib.util.module_from_spec(_spec)
sys.modules["oidc_provider_of_pages"] = provider_of
_spec.loader.exec_module(provider_of)


@pytest.fixture(scope="module")
def site(tmp_path_factory, serve):
    folder = tmp_path_factory.mktemp("openid")
    with provider_of.Provider() as provider, serve(f"sqlite:///{folder / 'q.sqlite'}", folder) as made:
        redirect = f"{made.address}/connexion/openid/retour"
        provider_of.REDIRECT = redirect
        (folder / "secret").write_text(provider_of.SECRET, encoding="utf-8")
        (folder / "openid.toml").write_text(
            f"""issuer = "{provider.issuer}"
client_id = "{provider_of.CLIENT}"
client_secret_file = "secret"
redirect = "{redirect}"
discovery = "{provider.issuer}/wallet-openid-configuration"
scopes = ["openid", "scope_all"]
acr_values = ["eidas1"]
claim = "SubjectNameID"
""",
            encoding="utf-8",
        )
        made.provider = provider
        made.site.openid = oidc.OpenId(oidc.read(folder / "openid.toml"))
        made.site.seal = seal.load(folder / "web.key")
        made.folder = folder
        yield made
        made.site.openid.close()


def test_somebody_whom_the_provider_vouches_for_is_in(site):
    account = NewAccount("julie", Role.NURSE, ("Nord",), "Julie", "899700012345")
    site.site.people.create(account, "shell:test", site.site.now_ms(), password=False)
    with site.client(follow_redirects=True) as client:
        assert "Pro Santé Connect" in client.get("/connexion").text
        page = client.get("/connexion/openid")
        assert page.status_code == 200, page.text
        assert str(page.url).endswith("/file")
        assert "Julie" in page.text


def test_who_has_no_account_or_began_elsewhere_is_not(site):
    site.provider.twist["userinfo"] = {"sub": provider_of.SUBJECT, "SubjectNameID": "nobody"}
    with site.client(follow_redirects=True) as client:
        page = client.get("/connexion/openid")
        assert page.status_code == 401
        assert "Aucun compte" in re.sub(r"\s+", " ", page.text)
    site.provider.twist.clear()
    with site.client() as client:
        page = client.get("/connexion/openid/retour?code=x&state=y")
        assert page.status_code == 401
        assert "vigie_session" not in page.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("issuer =", "is not TOML"),
        ('isuer = "x"', "isuer: there is no such key"),
        (
            'issuer = "ftp://x"\nclient_id = "a"\nclient_secret = "b"\nredirect = "https://x"',
            "legal is https://",
        ),
        ('issuer = "https://x"', "missing"),
    ],
)
def test_a_wrong_file_says_what(tmp_path, text, message):
    file = tmp_path / "openid.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(file))) as error:
        oidc.read(file)
    assert message in str(error.value)


def test_without_a_provider_there_is_no_such_page(site):
    before, site.site.openid = site.site.openid, None
    try:
        assert httpx.get(f"{site.address}/connexion/openid", timeout=60).status_code == 404
    finally:
        site.site.openid = before
