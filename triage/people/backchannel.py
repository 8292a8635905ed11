"""What Vigie asks an OpenID provider from server to server: JSON objects, of a bounded size, in a bounded time."""

import json
import time
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

__all__ = ["Backchannel", "BackchannelError", "legal", "printable"]

MOST_BYTES: Final = 262_144
MOST_S: Final = 15.0


class BackchannelError(Exception):
    """The provider did not answer as it must; the message is for the operator and holds nothing secret."""


def legal(url: object) -> bool:
    """Say whether `url` may be asked: https, or http to this machine, without a user in it."""
    if not isinstance(url, str) or len(url) > 1000 or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in {"127.0.0.1", "::1", "localhost"})


class Backchannel:
    """Asks the provider.

    Parameters
    ----------
    client : httpx.Client, optional
        For who needs a proxy, a certificate of the client (mutual TLS) or an authority of their own.
    """

    def __init__(self, client: httpx.Client | None = None) -> None:
        self._client = client or httpx.Client(timeout=5.0, limits=httpx.Limits(max_connections=4))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, url: str, bearer: str = "") -> dict[str, Any]:
        """Get a JSON object.

        Raises
        ------
        BackchannelError
        """
        return self._ask("GET", url, headers={"Authorization": f"Bearer {bearer}"} if bearer else {})

    def post(self, url: str, form: dict[str, str], auth: tuple[str, str] | None) -> dict[str, Any]:
        """Post a form; get a JSON object.

        Raises
        ------
        BackchannelError
        """
        return self._ask("POST", url, data=form, auth=httpx.BasicAuth(*auth) if auth else None)

    def _ask(self, method: str, url: str, **how: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx's own
        until = time.monotonic() + MOST_S
        body = bytearray()
        try:
            # A redirect is not followed: the code and the secret would go wherever it says.
            with self._client.stream(method, url, follow_redirects=False, **how) as answer:
                status = answer.status_code
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise _wrong(url, f"more than {MOST_BYTES} bytes")
                    if time.monotonic() > until:
                        raise _wrong(url, f"not whole after {MOST_S:.0f} s")
        except httpx.HTTPError as error:
            raise _wrong(url, type(error).__name__) from error
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if status != httpx.codes.OK:
            said = found.get("error") if isinstance(found, dict) else None
            raise _wrong(url, f"status {status}{', ' + printable(said) if said else ''}")
        if not isinstance(found, dict):
            raise _wrong(url, "no JSON object")
        return found


def printable(said: object) -> str:
    """Give what a provider said, so that it may stand in a log."""
    return repr(said if isinstance(said, str) else type(said).__name__)[:100]


def _wrong(url: str, what: str) -> BackchannelError:
    return BackchannelError(f"{url}: {what}")
