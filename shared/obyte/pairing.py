r"""Pairing codes: how one device finds another and proves that it was invited (Obyte, device messages).

    <permanent public key>@<hub's host and path>#<pairing secret>

Links carry a prefix that names the network, as `obyte:`; it says nothing that the code does not.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.obyte.addresses import device_address
from shared.obyte.errors import DeviceMessageError
from shared.obyte.signatures import is_valid_pubkey

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HUB_CHARACTERS = 200
MAX_SECRET_CHARACTERS = 200
MAX_CODE_CHARACTERS = 512
SECRET_LIFETIME_S = 30 * 86_400.0
"""How long a secret that pairs once may be used."""

_CODE = re.compile(r"([\w/+]+)@([\w.:/-]+)#([\w/+-]+)", re.ASCII)
_HUB = re.compile(r"[\w.:/-]+", re.ASCII)
_SECRET_BYTES = 9  # 72 random bits, and no padding in base64
_PREFIX = re.compile(r"(?:obyte|byteball)(?:-tn|-test|-dev)?:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PairingCode:
    """An invitation: whose device, where messages for it are left, and what proves that it was invited."""

    pubkey: str
    """The device's permanent key, 44 characters of base64."""
    hub: str
    """Host and path, as `obyte.org/bb`."""
    secret: str = field(repr=False)

    @property
    def device_address(self) -> str:
        """The address of the inviting device."""
        return device_address(self.pubkey)

    def __str__(self) -> str:
        """Return the code as it is written; it holds the secret."""
        return f"{self.pubkey}@{self.hub}#{self.secret}"


def parse_pairing_code(text: str) -> PairingCode:
    """Read a pairing code, with or without a link's prefix.

    Raises DeviceMessageError `invalid_pairing_code`, which never quotes the code.
    """
    match = None if len(text) > MAX_CODE_CHARACTERS else _CODE.fullmatch(_PREFIX.sub("", text.strip(), count=1))
    if match is None:
        raise _invalid("it should look like KEY@HUB#SECRET")
    pubkey, hub, secret = match.groups()
    if not is_valid_pubkey(pubkey):
        raise _invalid("its key is not a public key of 44 characters")
    if not is_valid_hub(hub):
        raise _invalid("its hub is not a host with an optional path")
    return PairingCode(pubkey, hub, secret)


def new_pairing_secret(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a fresh secret that a pairing code can carry, 12 characters."""
    return base64.b64encode(random_bytes(_SECRET_BYTES)).decode()


def is_valid_hub(hub: object) -> bool:
    """Tell whether a text is the host of a hub, with an optional port and path and nothing else: `obyte.org/bb`."""
    if not isinstance(hub, str) or len(hub) > MAX_HUB_CHARACTERS or _HUB.fullmatch(hub) is None:
        return False
    try:
        parts = urlsplit(f"wss://{hub}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _invalid(why: str) -> DeviceMessageError:
    return DeviceMessageError("invalid_pairing_code", f"this is not a pairing code: {why}")
