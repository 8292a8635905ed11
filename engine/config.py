"""Configuration of the service: defaults, then a TOML file, then the environment, then the command line.

Each key is one field of `Settings`: ``port = 8080`` in the file, ``VIGIE_PORT=8080`` in the environment. A key that
does not exist is refused with the names close to it, in the file and in the environment alike: a setting that is
silently ignored is a setting that somebody relies on.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ingest.streams.address import is_address
from rules.errors import close_names

__all__ = ["PREFIX", "ConfigError", "Settings", "Shown", "load", "show"]

PREFIX = "VIGIE_"
_OTHERS = {"VIGIE_CONFIG", "VIGIE_DEBUG", "VIGIE_ECG", "VIGIE_PARENT", "VIGIE_REGISTER"}
"""Variables of that prefix that are no settings; those that begin with VIGIE_TEST_ are the tests'."""

Positive = Annotated[float, Field(gt=0)]


class ConfigError(Exception):
    """The configuration is wrong; each line of the message names a key, where it stands, and what is legal."""


class Settings(BaseModel):
    """What the operator sets. The description of each field is what ``vigie config show`` prints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Field(Path("vigie-data"), description="folder of log, checkpoints, history, sources")
    database: str = Field("", description="the queue: a file, or postgresql+psycopg://...; empty: in `data`")
    protocols: tuple[str, ...] = Field(
        ("insuffisance_cardiaque",), min_length=1, description="files, or names of shipped protocols"
    )
    candidates: tuple[str, ...] = Field(
        (), description="files: other versions of these, tried on live data and shown to cardiologists alone"
    )
    unsigned_protocols: Literal["warn", "refuse"] = Field(
        "warn", description="protocols that nobody signed, altered or out of validity: warn, or do not start"
    )
    enrolment: Path | None = Field(None, description="CSV of who is followed: vigie patient enrolment")
    limits: Path | None = Field(None, description="book of limits of cells and patients")
    zone: str = Field("Europe/Paris", description="time zone of patients that have none of their own")
    log: str = Field("", description="the log: redis://... for several processes; empty: a file in `data`")
    partitions: int | None = Field(None, ge=1, le=64, description="of a new log on Redis; 16 where not said")
    lease_s: float = Field(
        10.0, ge=1, description="seconds without a sign of life until another worker takes over"
    )
    shards: int = Field(1, ge=1, le=64, description="threads of the engine; the alerts are the same")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0: any free one")
    tls_certificate: Path | None = Field(None, description="PEM file; without it, HTTP behind a proxy")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key")
    connections: int = Field(4096, ge=1, description="at most so many at once; more are closed")
    header_s: Positive = Field(10.0, description="seconds that a request's head may take")
    body_s: Positive = Field(60.0, description="seconds that a request's body may take")

    web: bool = Field(default=True, description="the nurses' pages beside vigie serve")
    web_host: str = Field("127.0.0.1", description="address of the pages")
    web_port: int = Field(8081, ge=0, le=65535, description="port of the pages; 0: any free one")
    web_origin: str = Field("", description="https://... by which browsers reach them behind a proxy")
    outcomes: Path | None = Field(
        None, description="CSV of what became of patients, for trials of limits: docs/workshop.md"
    )
    policy: Path | None = Field(None, description="TOML file of answer limits, hours, on-call: docs/nurse.md")
    openid: Path | None = Field(None, description="TOML file of an OpenID provider: docs/administrator.md")
    second_factor: bool = Field(default=True, description="every account must have a second factor")

    hold_s: float = Field(1.0, ge=0, description="seconds for which a refusal (401, 429) is held back")

    checkpoint_s: Positive = Field(60.0, description="seconds between checkpoints")
    keep_days: Positive = Field(
        90.0, description="days of log to keep, at least; more where needed to restart"
    )
    history: bool = Field(default=True, description="keep every reading, for plots and back-tests")
    stop_s: Positive = Field(30.0, description="seconds that a stop may take to drain and to write")

    log_format: Literal["text", "json"] = Field("text", description="messages: for people, or JSON lines")

    @model_validator(mode="before")
    @classmethod
    def _list(cls, given: Any) -> Any:  # noqa: ANN401 - as it came, before validation
        """Read a list from one word of the environment: names apart by commas."""
        if not isinstance(given, dict):
            return given
        lists = {key: given[key] for key in ("protocols", "candidates") if isinstance(given.get(key), str)}
        return given | {
            key: [name.strip() for name in text.split(",") if name.strip()] for key, text in lists.items()
        }

    @field_validator("log")
    @classmethod
    def _address(cls, given: str) -> str:
        if given and not is_address(given):
            msg = "legal are redis://, rediss:// and unix:// addresses, or nothing"
            raise ValueError(msg)
        return given

    @field_validator("web_origin")
    @classmethod
    def _origin(cls, given: str) -> str:
        scheme, mark, rest = given.partition("://")
        if given and (scheme not in {"http", "https"} or not mark or not rest or "/" in rest):
            msg = "legal are https://host and https://host:port, or nothing"
            raise ValueError(msg)
        return given

    @model_validator(mode="after")
    def _pairs(self) -> "Settings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            msg = "tls_certificate and tls_key: both or neither"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as it is shown: secrets hidden."""

    name: str
    value: str
    origin: str
    about: str


def load(
    file: Path | None = None,
    given: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Settings, dict[str, str]]:
    """Put the configuration together.

    Parameters
    ----------
    file : Path, optional
        A TOML file; else the one that VIGIE_CONFIG names, if any.
    given : mapping, optional
        From the command line; None as a value says nothing.
    environment : mapping of str to str

    Returns
    -------
    settings : Settings
    origins : dict of str to str
        Where each value comes from: ``default``, the file, the variable or ``command line``.

    Raises
    ------
    ConfigError
        With every key that is wrong.
    """
    if file is None and environment.get("VIGIE_CONFIG"):
        file = Path(environment["VIGIE_CONFIG"])
    wrong: list[str] = []
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    places = [
        (_file(file, wrong), str(file)),
        (_environment(environment, wrong), "environment"),
        ({name: value for name, value in (given or {}).items() if value is not None}, "command line"),
    ]
    for found, place in places:
        for name, value in found.items():
            values[name] = value
            origins[name] = f"{PREFIX}{name.upper()}" if place == "environment" else place
    if wrong:
        raise ConfigError("\n".join(wrong))
    try:
        return Settings(**values), origins
    except ValidationError as error:
        raise ConfigError("\n".join(_said(each, origins) for each in error.errors())) from error


def show(settings: Settings, origins: Mapping[str, str]) -> list[Shown]:
    """Give all settings with their origin, secrets hidden."""
    return [
        Shown(
            name,
            _hidden(getattr(settings, name)),
            origins[name],
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def _file(file: Path | None, wrong: list[str]) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        with file.open("rb") as opened:
            found = tomllib.load(opened)
    except OSError as error:
        wrong.append(f"{file}: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        wrong.append(f"{file}: is not TOML: {error}")
        return {}
    legal = Settings.model_fields
    wrong += [
        f"{file}: {name}: there is no such setting; {close_names(name, legal)}"
        for name in found
        if name not in legal
    ]
    # Paths in a file are meant from where the file is.
    for name in ("data", "enrolment", "limits", "openid", "policy", "tls_certificate", "tls_key"):
        if isinstance(found.get(name), str):
            found[name] = file.parent / found[name]
    return found


def _environment(environment: Mapping[str, str], wrong: list[str]) -> dict[str, str]:
    found = {}
    legal = {PREFIX + name.upper(): name for name in Settings.model_fields}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable in _OTHERS or variable.startswith("VIGIE_TEST_"):
            continue
        if variable not in legal:
            wrong.append(f"{variable}: there is no such setting; {close_names(variable, legal)}")
        elif value:
            found[legal[variable]] = value
    return found


def _said(error: Any, origins: Mapping[str, str]) -> str:  # noqa: ANN401 - pydantic's own dict of details
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(message)
    name = str(error["loc"][0])
    given = error["input"]
    shown = _hidden(given) if isinstance(given, str) else given
    return f"{name} ({origins.get(name, 'default')}): {shown!r}: {message[:1].lower()}{message[1:]}"


def _hidden(value: Any) -> str:  # noqa: ANN401 - any setting's
    text = ", ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
    scheme, mark, rest = text.partition("://")
    if mark and "@" in rest:
        who, _, where = rest.rpartition("@")
        user, colon, _ = who.partition(":")
        return f"{scheme}://{user}{':***' if colon else ''}@{where}"
    return text
