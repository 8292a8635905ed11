"""Addresses of Redis servers: what is one, and how it is shown. Without Redis's library, which takes its time."""

from urllib.parse import urlsplit

__all__ = ["SCHEMES", "is_address", "shown"]

SCHEMES = ("redis", "rediss", "unix")


def is_address(text: str) -> bool:
    """Whether a text is the address of a Redis server: ``redis://``, ``rediss://`` (TLS) or ``unix://``."""
    return urlsplit(text).scheme in SCHEMES


def shown(url: str) -> str:
    """Give an address without its password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    who, _, where = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{who.partition(':')[0]}:***@{where}").geturl()
