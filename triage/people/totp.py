"""Codes of the second factor (TOTP, RFC 6238: six digits, SHA-1, 30 s), and recovery codes."""

import hashlib
import hmac
import re
import secrets
from typing import Final

import pyotp
import segno

__all__ = ["RECOVERY", "STEP_MS", "address", "hash_of", "new_recovery", "new_secret", "picture", "step_of"]

STEP_MS: Final = 30_000

NEAR: Final = 1
"""Steps that a telephone's clock may be off, either way."""

RECOVERY: Final = 10
"""Recovery codes that are given out at once."""

ISSUER: Final = "Vigie"

_CODE = re.compile(r"[0-9]{6}")
_LETTERS = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


def new_secret() -> str:
    """Make a secret: 160 random bits, in base32."""
    return pyotp.random_base32(32)


def address(secret: str, name: str) -> str:
    """Give what an authenticator application reads."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def picture(uri: str) -> str:
    """Draw an address as a QR code: an SVG element, without style or script, to stand in a page."""
    drawn: str = segno.make(uri, error="m", micro=False).svg_inline(
        scale=5, border=4, dark="#000", light="#fff"
    )
    return drawn


def step_of(secret: str, code: str, now_ms: int, after: int) -> int | None:
    """Find the step whose code this is, among those near now and later than `after`.

    Returns
    -------
    int or None
        Steps of 30 s since 1970; None where it is no such code.
    """
    typed = code.replace(" ", "")
    if not _CODE.fullmatch(typed):
        return None
    totp = pyotp.TOTP(secret)
    now = now_ms // STEP_MS
    found = None
    for step in range(max(0, now - NEAR), now + NEAR + 1):
        if hmac.compare_digest(totp.generate_otp(step), typed) and step > after and found is None:
            found = step
    return found


def new_recovery() -> list[str]:
    """Make recovery codes: 16 letters in groups of 4, 78 random bits each."""
    return [
        "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))
        for _ in range(RECOVERY)
    ]


def hash_of(code: str, account: str) -> str:
    """Hash a recovery code of an account, as it may be typed."""
    typed = re.sub(r"[\s-]", "", code[:64]).upper()
    return hashlib.sha256(f"{account}:{typed}".encode(errors="replace")).hexdigest()
