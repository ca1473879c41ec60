"""The types of the settings: what each accepts, and what it says when it refuses."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

MAX_AMOUNT = 9_000_000_000_000_000
"""The largest amount the Obyte protocol allows, in the smallest unit of an asset."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a setting counts or holds, for the reader of docs/settings.md; `default` replaces a computed default."""

    name: str
    default: str | None = None


def _url(schemes: tuple[str, ...], text: str, *, needs_host: bool = True) -> str:
    """Return `text` if it is an absolute URL of one of `schemes`. The error never quotes it: it may hold a password."""
    expected = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError("must be a URL with a port from 1 to 65535") from error
    if parts.scheme not in schemes:
        raise ValueError(f"must be a URL that starts with {expected}")
    if needs_host and not parts.hostname:
        raise ValueError(f"must name a host after {expected}")
    if port == 0:
        raise ValueError("must be a URL with a port from 1 to 65535")
    return text


def _open_url(schemes: tuple[str, ...], text: str) -> str:
    """Like `_url`, for addresses that are shown and logged: they must not carry a password."""
    if "@" in urlsplit(_url(schemes, text)).netloc:
        raise ValueError("must not carry a user name or password")
    return text


def _hub_urls(text: str) -> str:
    """Return a list of hubs as it is kept: separated by commas, without spaces, each hub once."""
    urls = [_open_url(("ws", "wss"), url.strip()) for url in text.split(",")]
    if len(set(urls)) != len(urls):
        raise ValueError("must name each hub once")
    return ",".join(urls)


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _agent_versions(values: tuple[str, ...]) -> tuple[str, ...]:
    known = ("1.1", "1.2")
    if not values or len(set(values)) != len(values) or not set(values) <= set(known):
        raise ValueError(f"must list one or more of {', '.join(known)}, each once")
    return values


def _addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    # Their checksums are looked at by whoever knows the protocol.
    if not all(re.fullmatch("[A-Z2-7]{32}", value) for value in values) or len(set(values)) != len(values):
        raise ValueError("must be different addresses of 32 characters, separated by commas")
    return values


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        networks = tuple(str(ipaddress.ip_network(value)) for value in values)
    except ValueError:
        networks = ("%",)
    if any("%" in network for network in networks):  # a zone: what it names is known to one machine only
        raise ValueError("must be networks as 10.1.0.0/16 or fd00::/64, separated by commas")
    return networks


def _database_url(secret: SecretStr) -> SecretStr:
    # Only the scheme is checked: libpq's URLs may list several hosts and ports, or name a socket directory.
    if urlsplit(secret.get_secret_value()).scheme not in {"postgresql", "postgres"}:
        raise ValueError("must be a URL that starts with postgresql:// or postgres://")
    return secret


def _redis_url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    _url(("redis", "rediss", "unix"), text, needs_host=not text.startswith("unix:"))
    if text.startswith("unix:") and not urlsplit(text).path:
        raise ValueError("must name a socket file after unix://")
    return secret


def _device_hub(text: str) -> str:
    if re.fullmatch(r"[\w.:/-]{1,200}", text, re.ASCII) is None or "://" in text or text.startswith("/"):
        raise ValueError("must be a host with an optional port and path, as host:port/path")
    return text


def _pairing_secret(secret: SecretStr) -> SecretStr:
    # What a pairing code can carry (Obyte, device messages); a short one is soon guessed.
    if re.fullmatch(r"[\w/+-]{4,200}", secret.get_secret_value(), re.ASCII) is None:
        raise ValueError("must have 4 to 200 letters, digits or characters of _/+-")
    return secret


def _readable_directory(path: Path) -> Path:
    if not (path.expanduser().is_dir() and os.access(path.expanduser(), os.R_OK | os.X_OK)):
        raise ValueError("must be a directory that can be read")
    return path


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError("must be JSON") from error


def _asset(name: str) -> str:
    if name == "base":
        return name
    try:
        canonical = base64.b64encode(base64.b64decode(name, validate=True)).decode()
    except (binascii.Error, ValueError):
        canonical = ""
    if len(name) != 44 or canonical != name:  # noqa: PLR2004 - the length of 32 bytes in base64
        raise ValueError('asset must be "base" or the 44 base64 characters of its unit')
    return name


class UnconfirmedLimit(BaseModel):
    """How much of one asset may be accepted against deposits that are not stable yet; 0 accepts none."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    max_by_asset: int = Field(ge=0, le=MAX_AMOUNT, strict=True)
    """Limit over all channels of the asset, in its smallest unit."""
    max_by_channel: int = Field(ge=0, le=MAX_AMOUNT, strict=True)
    """Limit per channel, in the asset's smallest unit."""
    min_age_s: float = Field(ge=0, allow_inf_nan=False)
    """A deposit must have been seen at least this long ago, in seconds."""


class ExposureLimit(BaseModel):
    """How much of one asset may be at risk in channels whose agent lets their peers steal, in its smallest unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    max_by_channel: int = Field(ge=0, le=MAX_AMOUNT, strict=True)
    """What the peer of one channel can take at most."""
    sweep_above: int = Field(ge=0, le=MAX_AMOUNT, strict=True)
    """A channel in which this much was earned is closed."""
    max_own_deposit: int = Field(ge=0, le=MAX_AMOUNT, strict=True)
    """What we may have deposited in a channel and not spent."""
    max_total: int = Field(ge=0, le=MAX_AMOUNT, strict=True)
    """What may be at risk in all channels together."""

    @model_validator(mode="after")
    def _sweeping_comes_first(self) -> Self:
        # Otherwise a channel with our deposit in it would refuse payments and never be settled to take them again.
        if self.sweep_above + self.max_own_deposit > self.max_by_channel:
            raise ValueError("sweep_above and max_own_deposit together must not be above max_by_channel")
        if self.max_by_channel > self.max_total:
            raise ValueError("max_by_channel must not be above max_total")
        return self


Asset = Annotated[str, AfterValidator(_asset)]
AssetOrAny = Annotated[str, AfterValidator(lambda name: name if name == "*" else _asset(name))]
Port = Annotated[int, Field(ge=1, le=65_535), Unit("TCP port")]
Seconds = Annotated[int, Field(ge=1, le=31_536_000), Unit("s")]
Duration = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False), Unit("s")]
Rate = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
SecretsDir = Annotated[Path, AfterValidator(_readable_directory)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
DeviceHub = Annotated[str, AfterValidator(_device_hub)]
PairingSecret = Annotated[SecretStr, AfterValidator(_pairing_secret)]
HubUrls = Annotated[str, AfterValidator(_hub_urls)]
AgentVersions = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_agent_versions)]
Addresses = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_addresses)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_networks)]
HttpUrl = Annotated[str, AfterValidator(lambda text: _open_url(("http", "https"), text))]
UnconfirmedLimits = Annotated[dict[Asset, UnconfirmedLimit], BeforeValidator(_from_json)]
ExposureLimits = Annotated[dict[AssetOrAny, ExposureLimit], BeforeValidator(_from_json)]
