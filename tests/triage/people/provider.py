"""A small OpenID provider, real as far as a client can see: HTTP, codes used once, PKCE, RS256, and lies on demand."""

import base64
import hashlib
import hmac
import json
import secrets
import socket
import threading
import time
from urllib.parse import parse_qs, unquote, urlencode

import uvicorn
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT = "vigie à l'hôpital"
SECRET = "secret: %/+ é"  # noqa: S105 - with what a form would change
REDIRECT = "http://127.0.0.1:8080/openid/retour"
SUBJECT = "f:1234:899700012345"


class Provider:
    """The provider. `twist` is what it does otherwise than it should; tests set and clear it.

    Keys of `twist`: claims (merged into the token; None removes one), sign (a key instead of its own), raw (a
    function of the signed token), answers (path: a Response instead), ways (methods at the token endpoint), userinfo.
    """

    def __init__(self):
        self.key = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig", "alg": "RS256"})
        self.other = RSAKey.generate_key(2048, {"kid": "k1"})
        self.twist = {}
        self.asked = []
        self._codes = {}
        routes = [
            ("/wallet-openid-configuration", self.discovery),
            ("/.well-known/openid-configuration", self.discovery),
            ("/authorize", self.authorize),
            ("/token", self.token),
            ("/jwks", self.jwks),
            ("/userinfo", self.userinfo),
        ]
        app = Starlette(
            routes=[Route(path, self._told(call), methods=["GET", "POST"]) for path, call in routes]
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.issuer = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="error", ws="none", lifespan="off", loop="asyncio")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self):
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def _told(self, call):
        async def answer(request):
            self.asked.append(request.url.path)
            other = self.twist.get("answers", {}).get(request.url.path)
            return other or await call(request)

        return answer

    async def discovery(self, _request):
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/jwks",
                "authorization_response_iss_parameter_supported": True,
                "token_endpoint_auth_methods_supported": self.twist.get("ways", ["client_secret_basic"]),
            }
            | self.twist.get("discovery", {})
        )

    async def authorize(self, request):
        asked = dict(request.query_params)
        if (asked["client_id"], asked["redirect_uri"]) != (CLIENT, REDIRECT):
            return Response("unknown client", 400)
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.issuer}
        return RedirectResponse(f"{REDIRECT}?{urlencode(back)}", 302)

    async def token(self, request):
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if self._client(request, form) != (CLIENT, SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self._codes.pop(form["code"], None)  # once
        if (
            asked is None
            or form["redirect_uri"] != asked["redirect_uri"]
            or create_s256_code_challenge(form["code_verifier"]) != asked["code_challenge"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        access = secrets.token_urlsafe(16)
        half = hashlib.sha256(access.encode()).digest()[:16]
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": SUBJECT,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 60,
            "nonce": asked["nonce"],
            "acr": asked.get("acr_values", "0").split()[0],
            "at_hash": base64.urlsafe_b64encode(half).decode().rstrip("="),
        }
        claims |= self.twist.get("claims", {})
        claims = {name: value for name, value in claims.items() if value is not None}
        signed = jwt.encode({"alg": "RS256", "kid": "k1"}, claims, self.twist.get("sign", self.key))
        signed = self.twist.get("raw", lambda token: token)(signed)
        return JSONResponse({"access_token": access, "token_type": "Bearer", "id_token": signed})

    def _client(self, request, form):
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic" and "client_secret_basic" in self.twist.get("ways", ["client_secret_basic"]):
            name, _, secret = base64.b64decode(given).decode().partition(":")
            return unquote(name), unquote(secret)
        return form.get("client_id"), form.get("client_secret")

    async def jwks(self, _request):
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def userinfo(self, request):
        assert request.headers["authorization"].startswith("Bearer ")
        return JSONResponse(self.twist.get("userinfo", {"sub": SUBJECT, "SubjectNameID": "899700012345"}))


def unsigned(token):
    """The same claims, by nobody."""
    _, payload, _ = token.split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    return f"{header}.{payload}."


def changed(token):
    """Other claims under the signature."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    payload = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "another"}).encode()).decode().rstrip("=")
    return f"{header}.{payload}.{signature}"


def shared(token, key):
    """The same claims, signed with the public key as if it were a shared one: who believes the header falls for it."""
    _, payload, _ = token.split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "k1"}).encode()).decode().rstrip("=")
    signed = hmac.digest(key.as_pem(private=False), f"{header}.{payload}".encode(), "sha256")
    return f"{header}.{payload}.{base64.urlsafe_b64encode(signed).decode().rstrip('=')}"
