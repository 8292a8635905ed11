"""What a bridge from an MQTT broker is told."""

from dataclasses import dataclass
from pathlib import Path

from ingest.bridges.errors import BridgeError

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a bridge is told; see ``vigie bridge --help``.

    Raises
    ------
    BridgeError
        Something in it is not legal.
    """

    broker: str
    service: str
    key_file: Path
    topic: str = "vigie/+/packets"
    share: str | None = None
    client_id: str | None = None
    quarantine: Path = Path("vigie-bridge-quarantine")
    username: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    in_flight: int = 64
    stop_s: float = 20.0

    def __post_init__(self) -> None:
        """Refuse what a broker would misunderstand."""
        levels = self.topic.split("/")
        if not self.topic or any(
            ("#" in level and (level != "#" or at + 1 < len(levels))) or ("+" in level and level != "+")
            for at, level in enumerate(levels)
        ):
            msg = f"--topic {self.topic!r}: legal are levels between '/'; a level may be '+', and the last one '#'"
            raise BridgeError(msg)
        if levels[0].startswith("$"):
            msg = f"--topic {self.topic!r}: legal is a topic that does not begin with '$'; --share shares it"
            raise BridgeError(msg)
        if self.share is not None and (not self.share or set(self.share) & set("/+#")):
            msg = f"--share {self.share!r}: legal is a name without '/', '+' and '#'"
            raise BridgeError(msg)
        if self.share is not None and self.client_id is None:
            msg = "--share: legal with --client-id only, a name that each bridge of the group has for itself"
            raise BridgeError(msg)
        if (self.username is None) != (self.password_file is None):
            msg = "--username, --password-file: legal are both or neither"
            raise BridgeError(msg)
        if not 1 <= self.in_flight <= 65_535:
            msg = f"--in-flight {self.in_flight}: legal are 1 to 65535"
            raise BridgeError(msg)

    @property
    def subscription(self) -> str:
        """What to ask the broker for."""
        return self.topic if self.share is None else f"$share/{self.share}/{self.topic}"
