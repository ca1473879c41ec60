"""The parameters of a channel as peers send them: in `create_channel`, and inside a package as `channel_parameters`.

Source of the rules: the peer protocol's checks on `create_channel`. Only the shape is judged here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared.obyte.agents import AGENT_VERSIONS, CHANNELS_BASE_AA, channel_address
from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.serialization import utf16_length
from shared.receiving.errors import ChannelRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

ASSET_CHARACTERS = 44
MAX_SALT_LENGTH = 50
MAX_URL_LENGTH = 1000

_REQUIRED = frozenset({"address", "timeout", "asset", "version"})
_OPTIONAL = frozenset({"salt"})


@dataclass(frozen=True, slots=True)
class ChannelParameters:
    """What makes a channel with a peer this channel and no other. The peer is the agent's B, we are its A."""

    address: str
    timeout_s: int
    asset: str
    version: str
    salt: str | None = None


def read_parameters(value: object) -> ChannelParameters:
    """Check the shape of `{address, timeout, asset, version, salt?}`; nothing else may be in it.

    A package's parameters carry no `url`: whoever signs a package could have us contact any address.
    Raises ChannelRefused.
    """
    if not isinstance(value, dict):
        raise ChannelRefused("invalid_channel_parameters", "channel_parameters should be an object")
    return _read(value, _OPTIONAL)


def read_create_channel(params: Mapping[str, Any]) -> tuple[ChannelParameters, str | None]:
    """Check the shape of the `create_channel` parameters: as above, and the peer's own base address `url`.

    A null salt or url counts as absent: the reference writes them so. Raises ChannelRefused.
    """
    given = {name: value for name, value in params.items() if value is not None or name not in ("salt", "url")}
    parameters = _read(given, _OPTIONAL | {"url"})
    url = given.get("url")
    if url is not None and not _is_http_url(url):
        raise ChannelRefused("invalid_url", "url should be an http or https address")
    return parameters, url


@lru_cache(maxsize=4096)
def address_of(parameters: ChannelParameters, own_address: str) -> str:
    """Return the address of the agent of this channel: we are A, the peer who opens it is B."""
    return channel_address(
        own_address,
        parameters.address,
        parameters.asset,
        parameters.timeout_s,
        parameters.salt,
        parameters.version,
    )


def _read(value: Mapping[str, Any], optional: frozenset[str]) -> ChannelParameters:
    for name in value:
        if name not in _REQUIRED and name not in optional:
            raise ChannelRefused("unknown_field", f"unknown channel parameter {name[:40]!r}")
    for name in sorted(_REQUIRED):
        if name not in value:
            raise ChannelRefused("missing_field", f"channel parameter {name} is missing")
    salt = value.get("salt")
    if "salt" in value:
        _check_salt(salt)
    timeout_s = value["timeout"]
    if type(timeout_s) is not int or timeout_s <= 0:
        raise ChannelRefused("invalid_timeout", "Channel timeout should be a positive integer")
    if not is_valid_address(value["address"]):
        raise ChannelRefused("invalid_address", "address is not a valid address")
    asset = value["asset"]
    if asset != "base" and not (is_valid_base64(asset, ASSET_CHARACTERS) and asset.endswith("=")):
        raise ChannelRefused("invalid_asset", 'asset should be "base" or 32 bytes in canonical base64')
    version = value["version"]
    if not isinstance(version, str) or version not in CHANNELS_BASE_AA:
        raise ChannelRefused("unknown_agent_version", "Unknown AA version", AGENT_VERSIONS)
    return ChannelParameters(value["address"], timeout_s, asset, version, salt)


def _check_salt(salt: object) -> None:
    if not isinstance(salt, str) or not salt:
        raise ChannelRefused("invalid_salt", "Salt must be a non-empty string")
    if utf16_length(salt) > MAX_SALT_LENGTH:
        raise ChannelRefused("invalid_salt", f"Salt must be {MAX_SALT_LENGTH} chars max")


def _is_http_url(url: object) -> bool:
    if (
        not isinstance(url, str)
        or len(url) > MAX_URL_LENGTH
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        return False
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        return False
