"""Who a peer is: the first frame of a connection (RFC-0023, section "Authentication").

    entry           content type  data                                   required
    --------------  ------------  -------------------------------------  -----------------------------------------
    auth            0             nothing; anything is tolerated         yes, first
    auth_token      1, or 0       the secret; may be empty               yes
    auth_username   1, or 0       which account; may be empty            no
    anything else   any           flags                                  no

Two entries of one of these three names are refused: two readers could see two different peers in one frame (BTP-9).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.interledger.btp.frames import ContentType, Entries, Entry, Frame, Message
from shared.interledger.btp.subprotocols import AUTH, AUTH_TOKEN, AUTH_USERNAME, Value, entry_for
from shared.interledger.errors import InterledgerError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TOKEN_BYTES = 1_024
MAX_USERNAME_BYTES = 255
LEAST_ENTRIES = 2

_RESERVED = AUTH, AUTH_TOKEN, AUTH_USERNAME


class LoginError(InterledgerError):
    """A first frame that is no login.

    Codes: `not_a_message`, `too_few_entries`, `auth_not_first`, `token_missing`, `named_twice`, `bad_text`, `too_long`.
    """


@dataclass(frozen=True, slots=True)
class Login:
    """What a peer says of itself. `username` is "" when it names no account; flags are whatever else it sent."""

    token: bytes = field(repr=False)
    username: str = ""
    flags: Entries = ()

    def has_token(self, expected: bytes) -> bool:
        """Whether the token is that one, compared in constant time (BTP-7)."""
        return hmac.compare_digest(self.token, expected)

    @property
    def token_hash(self) -> bytes:
        """SHA-256 of the token: what is stored of it, and what is looked up."""
        return hashlib.sha256(self.token).digest()

    @property
    def account_of_token(self) -> str:
        """The account that a token stands for where no others are configured, as ilp-plugin-mini-accounts has it."""
        return base64.urlsafe_b64encode(self.token_hash).rstrip(b"=").decode("ascii")


def read_login(frame: Frame) -> Login:
    """Read the first frame of a connection (BTP-5, BTP-7, BTP-9). Raises LoginError."""
    if not isinstance(frame, Message):
        raise LoginError("not_a_message", "first frame", "should be a MESSAGE with auth")
    entries = frame.entries
    if len(entries) < LEAST_ENTRIES:
        raise LoginError("too_few_entries", "first frame", "should have the entries auth and auth_token")
    if entries[0].name != AUTH:
        raise LoginError("auth_not_first", "first entry", "should be auth")
    names = [entry.name for entry in entries]
    if any(names.count(name) > 1 for name in _RESERVED):
        raise LoginError("named_twice", "auth, auth_token and auth_username", "should each be there once at most")
    found = {entry.name: entry for entry in entries if entry.name in _RESERVED}
    if AUTH_TOKEN not in found:
        raise LoginError("token_missing", AUTH_TOKEN, "should be there, even if it is empty")
    username = _plain(found[AUTH_USERNAME], MAX_USERNAME_BYTES) if AUTH_USERNAME in found else b""
    try:
        return Login(
            token=_plain(found[AUTH_TOKEN], MAX_TOKEN_BYTES),
            username=username.decode(),
            flags=tuple(entry for entry in entries if entry.name not in _RESERVED),
        )
    except UnicodeDecodeError:
        raise LoginError("bad_text", AUTH_USERNAME, "should be UTF-8") from None


def login_entries(username: str = "", token: str = "", flags: Mapping[str, Value] | None = None) -> Entries:
    """Return the entries of a login; username and token are always there, as JavaScript servers expect.

    Raises EncodingError for flags that JSON cannot carry.
    """
    return (
        Entry(AUTH, ContentType.OCTETS, b""),
        entry_for(AUTH_USERNAME, username),
        entry_for(AUTH_TOKEN, token),
        *(entry_for(name, value) for name, value in (flags or {}).items()),
    )


def _plain(entry: Entry, limit: int) -> bytes:
    if entry.content_type not in (ContentType.OCTETS, ContentType.TEXT):
        raise LoginError("bad_text", entry.name, "should be text or octets")
    if len(entry.data) > limit:
        raise LoginError("too_long", entry.name, f"should have at most {limit} bytes")
    return entry.data
