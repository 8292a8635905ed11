"""Signing in by an OpenID Connect provider, such as Pro Santé Connect: the code flow with PKCE, and a client secret.

The provider says who somebody is; which account that is, and what it may do, Vigie's administrator has said. What
came of the provider is believed only after its signature, issuer, audience, times and nonce were looked at.
"""

import hmac
import json
import secrets
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from rules.errors import close_names
from triage.people.backchannel import Backchannel, BackchannelError, legal, printable
from triage.people.kept import SUBJECT
from triage.people.person import PeopleError
from triage.people.seal import Seal

__all__ = ["OidcError", "OpenId", "Pending", "Provider", "Vouched", "read"]

PENDING_S: Final = 600
"""How long somebody may take at the provider."""

LEEWAY_S: Final = 60
"""How far the provider's clock may be off."""

KEPT_S: Final = 3600
"""How long its description is kept."""

MOST: Final = 4096
"""Characters of a code, a state, a token's part of an answer."""

_PLAIN = "La connexion par ce service n’a pas abouti. Recommencez, ou connectez-vous par mot de passe."


class OidcError(PeopleError):
    """Somebody does not come in by the provider; the message says why, for the operator's log."""

    def __init__(self, reason: str, plain: str = _PLAIN) -> None:
        super().__init__(f"openid: {reason}", plain)


@dataclass(frozen=True, slots=True)
class Provider:
    """What the operator knows of the provider.

    Parameters
    ----------
    issuer : str
        What the provider calls itself, to the letter.
    client_id, client_secret, redirect : str
        As registered with it; `redirect` is Vigie's own page.
    discovery : str
        Address of its description; of OpenID Connect Discovery where nothing is said.
    scopes, acr_values : tuple of str
        What is asked for; where `acr_values` are, the token must bring one of them.
    claim : str
        Which claim is the subject of an account; looked for in the token, then in what the provider says of the user.
    algorithms : tuple of str
        Of signatures; none that needs no key pair.
    name : str
        What people call it.

    Raises
    ------
    ValueError
        The message names the field and what is legal.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect: str
    discovery: str = ""
    scopes: tuple[str, ...] = ("openid",)
    acr_values: tuple[str, ...] = ()
    claim: str = "sub"
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256")
    name: str = "Pro Santé Connect"

    def __post_init__(self) -> None:
        """Refuse what cannot work or would not be safe."""
        for name in ("issuer", "redirect", "discovery"):
            value = getattr(self, name)
            if not (legal(value) or (name == "discovery" and not value)):
                msg = f"openid {name} {value!r}: legal is https://..., or http:// to this machine"
                raise ValueError(msg)
        if not (self.client_id and self.client_secret and self.claim):
            msg = "openid client_id, client_secret, claim: none may be empty"
            raise ValueError(msg)
        if "openid" not in self.scopes:
            msg = f"openid scopes {' '.join(self.scopes)!r}: openid must be one of them"
            raise ValueError(msg)
        wrong = set(self.algorithms) - {
            "RS256",
            "RS384",
            "RS512",
            "PS256",
            "PS384",
            "PS512",
            "ES256",
            "ES384",
        }
        if wrong or not self.algorithms:
            msg = (
                f"openid algorithms {', '.join(self.algorithms)}: legal are RS, PS and ES with 256, 384, 512"
            )
            raise ValueError(msg)

    @property
    def described(self) -> str:
        """Address of the description."""
        return self.discovery or self.issuer.rstrip("/") + "/.well-known/openid-configuration"


def read(file: Path) -> Provider:
    """Read a provider from a TOML file: the fields of `Provider`; the client's secret may be in a file of its own.

    Raises
    ------
    ValueError
        Naming the file, the key and what is legal.
    OSError
        A file cannot be read.
    """
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file}: is not TOML: {error}"
        raise ValueError(msg) from error
    secret = given.pop("client_secret_file", None)
    if isinstance(secret, str):
        given["client_secret"] = (file.parent / secret).read_text(encoding="utf-8").strip()
    legal_keys = {each.name for each in fields(Provider)}
    for name in given:
        if name not in legal_keys:
            msg = f"{file}: {name}: there is no such key; {close_names(name, legal_keys | {'client_secret_file'})}"
            raise ValueError(msg)
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    try:
        return Provider(**(given | lists))
    except (TypeError, ValueError) as error:
        msg = f"{file}: {error}"
        raise ValueError(msg) from error


@dataclass(frozen=True, slots=True)
class Pending:
    """Somebody is at the provider: what must come back with them. Kept in their browser, sealed."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    def sealed(self, seal: Seal) -> str:
        """Give what a cookie may hold; good for ten minutes."""
        return seal.close(json.dumps(["openid", self.state, self.nonce, self.verifier]))

    @classmethod
    def opened(cls, sealed: str, seal: Seal) -> "Pending":
        """Read a cookie.

        Raises
        ------
        OidcError
            It is none of ours, or older than ten minutes.
        """
        try:
            kind, *rest = json.loads(seal.open(sealed, PENDING_S))
            if kind == "openid" and len(rest) == 3:
                return cls(*rest)
        except (PeopleError, ValueError, TypeError):
            pass
        raise OidcError("nobody began here, or more than ten minutes ago")


@dataclass(frozen=True, slots=True)
class Vouched:
    """Whom the provider vouches for: the subject of an account, and whether by a level that was asked for."""

    subject: str = field(repr=False)
    strong: bool


class OpenId:
    """A provider; one of it for a process, for all threads.

    Parameters
    ----------
    provider : Provider
    backchannel : Backchannel, optional
    wall_s : callable
        The clock, s UTC.
    """

    def __init__(
        self,
        provider: Provider,
        backchannel: Backchannel | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._backchannel = backchannel or Backchannel()
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._description: dict[str, Any] = {}
        self._described_s = 0.0

    @property
    def name(self) -> str:
        """What people call it."""
        return self._provider.name

    def close(self) -> None:
        """Close the connections."""
        self._backchannel.close()

    def begin(self) -> tuple[str, Pending]:
        """Give the address to send somebody to, and what must come back with them.

        Raises
        ------
        OidcError
            The provider does not describe itself as it must.
        """
        pending = Pending(*(secrets.token_urlsafe(32) for _ in range(3)))
        url: str = prepare_grant_uri(
            self._described()["authorization_endpoint"],
            self._provider.client_id,
            "code",
            redirect_uri=self._provider.redirect,
            scope=" ".join(self._provider.scopes),
            state=pending.state,
            nonce=pending.nonce,
            acr_values=" ".join(self._provider.acr_values) or None,
            code_challenge=create_s256_code_challenge(pending.verifier),
            code_challenge_method="S256",
        )
        return url, pending

    def finish(self, query: Mapping[str, str], pending: Pending) -> Vouched:
        """Take what somebody brings back from the provider.

        Parameters
        ----------
        query : mapping
            Parameters of the address that they come to.
        pending : Pending
            Of `begin`, out of the same browser.

        Raises
        ------
        OidcError
        """
        described = self._described()
        code = self._code(query, pending, described)
        try:
            tokens = self._backchannel.post(*self._exchange(code, pending, described))
            keys = self._backchannel.get(described["jwks_uri"])
        except BackchannelError as error:
            raise OidcError(str(error)) from error
        access = _text(tokens, "access_token")
        claims = self._claims(_text(tokens, "id_token"), keys, pending, access)
        if self._provider.acr_values and claims.get("acr") not in self._provider.acr_values:
            raise OidcError(
                f"acr is {printable(claims.get('acr'))}; asked for {', '.join(self._provider.acr_values)}"
            )
        return Vouched(self._subject(claims, access, described), bool(self._provider.acr_values))

    def _code(self, query: Mapping[str, str], pending: Pending, described: dict[str, Any]) -> str:
        state = query.get("state", "")
        if not hmac.compare_digest(state.encode(errors="replace"), pending.state.encode()):
            raise OidcError("state is not the one that was sent")
        issuer = query.get("iss")
        # RFC 9207: against one provider's code that is brought as another's.
        said = described.get("authorization_response_iss_parameter_supported") is True
        if (issuer is not None or said) and issuer != self._provider.issuer:
            raise OidcError(f"the answer is of issuer {printable(issuer)}")
        if "error" in query:
            raise OidcError(f"the provider answers {printable(query['error'])}")
        code = query.get("code", "")
        if not 1 <= len(code) <= MOST:
            raise OidcError("no code in the answer")
        return code

    def _exchange(
        self, code: str, pending: Pending, described: dict[str, Any]
    ) -> tuple[str, dict[str, str], tuple[str, str] | None]:
        mine = self._provider
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": mine.redirect,
            "code_verifier": pending.verifier,
        }
        ways = described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if "client_secret_basic" in ways or "client_secret_post" not in ways:
            auth = (quote(mine.client_id, safe=""), quote(mine.client_secret, safe=""))
            return described["token_endpoint"], form, auth
        form |= {"client_id": mine.client_id, "client_secret": mine.client_secret}
        return described["token_endpoint"], form, None

    def _claims(self, token: str, keys: dict[str, Any], pending: Pending, access: str) -> CodeIDToken:
        mine = self._provider
        try:
            # The list of algorithms is ours: "none", and a public key taken for a shared one, are not in it.
            decoded = jwt.decode(token, KeySet.import_key_set(keys), algorithms=list(mine.algorithms))  # type: ignore[arg-type]
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {
                    "iss": {"essential": True, "value": mine.issuer},
                    "aud": {"essential": True, "value": mine.client_id},
                    "nonce": {"essential": True, "value": pending.nonce},
                },
                {"nonce": pending.nonce, "client_id": mine.client_id, "access_token": access},
            )
            claims.validate(int(self._wall_s()), LEEWAY_S)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            # Of an error of the library, the kind and the claim; what a token holds is not for a log.
            which = getattr(error, "claim", "") or getattr(error, "error", "")
            raise OidcError(f"id_token: {type(error).__name__} {which}".rstrip()) from error
        return claims

    def _subject(self, claims: Mapping[str, Any], access: str, described: dict[str, Any]) -> str:
        name = self._provider.claim
        value = claims.get(name)
        if value is None and described.get("userinfo_endpoint"):
            try:
                said = self._backchannel.get(described["userinfo_endpoint"], access)
            except BackchannelError as error:
                raise OidcError(str(error)) from error
            if said.get("sub") != claims["sub"]:
                raise OidcError("userinfo is of another subject than the id_token")
            value = said.get(name)
        if not isinstance(value, str) or not SUBJECT.fullmatch(value):
            raise OidcError(f"no claim {name} of 1 to 255 printable ASCII characters")
        return value

    def _described(self) -> dict[str, Any]:
        with self._lock:
            now = time.monotonic()
            if self._description and now - self._described_s < KEPT_S:
                return self._description
            try:
                found = self._backchannel.get(self._provider.described)
            except BackchannelError as error:
                raise OidcError(str(error)) from error
            if found.get("issuer") != self._provider.issuer:
                raise OidcError(
                    f"the provider calls itself {printable(found.get('issuer'))}, not {self._provider.issuer}"
                )
            must = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            for name in (*must, "userinfo_endpoint"):
                if not legal(found.get(name)) and (name in must or name in found):
                    raise OidcError(f"{name} {printable(found.get(name))}: not https://...")
            self._description, self._described_s = found, now
            return found


def _text(tokens: dict[str, Any], name: str) -> str:
    value = tokens.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 4 * MOST:
        raise OidcError(f"no {name} in the provider's answer")
    return value
