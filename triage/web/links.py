"""Signed links with which a patient answers a questionnaire, without an account.

The link is sealed: it holds the pseudonym, the protocol, a number of its own and its end, and shows none of it. The
number is that of the packet, so that a questionnaire sent twice is one.
"""

import json
import secrets
from dataclasses import dataclass

from triage.people.person import PeopleError
from triage.people.seal import Seal

__all__ = ["Link", "LinkError"]


class LinkError(ValueError):
    """A link that is none, or over; the message is for the patient."""


@dataclass(frozen=True, slots=True)
class Link:
    """A questionnaire that is asked of a patient until a time, ms UTC."""

    patient: str
    protocol: str
    until_ms: int
    number: int

    @classmethod
    def new(cls, patient: str, protocol: str, until_ms: int) -> "Link":
        """Make one that there was not before."""
        return cls(patient, protocol, until_ms, secrets.randbits(60))

    def sealed(self, seal: Seal) -> str:
        """Give the last part of its address."""
        return seal.close(json.dumps(["q", self.patient, self.protocol, self.until_ms, self.number]))

    @classmethod
    def opened(cls, text: str, seal: Seal, now_ms: int) -> "Link":
        """Read one.

        Raises
        ------
        LinkError
        """
        try:
            kind, *rest = json.loads(seal.open(text))
            link = cls(*rest)
        except (PeopleError, ValueError, TypeError) as error:
            msg = "Ce lien n’est pas valable. Utilisez celui du dernier message reçu."
            raise LinkError(msg) from error
        if kind != "q":
            msg = "Ce lien n’est pas celui d’un questionnaire."
            raise LinkError(msg)
        if link.until_ms <= now_ms:
            msg = "Ce lien n’est plus valable : il ne servait qu’un temps. Attendez le prochain message."
            raise LinkError(msg)
        return link
