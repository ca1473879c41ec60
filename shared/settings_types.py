"""The types of the settings: what each accepts, and what it says when it refuses."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

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


Asset = Annotated[str, AfterValidator(_asset)]
Port = Annotated[int, Field(ge=1, le=65_535), Unit("TCP port")]
Seconds = Annotated[int, Field(ge=1, le=31_536_000), Unit("s")]
Duration = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False), Unit("s")]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
HubUrl = Annotated[str, AfterValidator(lambda text: _open_url(("ws", "wss"), text))]
HttpUrl = Annotated[str, AfterValidator(lambda text: _open_url(("http", "https"), text))]
UnconfirmedLimits = Annotated[dict[Asset, UnconfirmedLimit], BeforeValidator(_from_json)]
