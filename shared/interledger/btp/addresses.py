"""Where a BTP server is, as it is written in configurations: `btp+wss://user:token@host:port/path`."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from shared.interledger.errors import InterledgerError

PREFIX = "btp+"
MAX_URL_LENGTH = 2_048


class BtpAddressError(InterledgerError):
    """No address of a BTP server. Codes: `no_btp_url`, `credentials_twice`."""


@dataclass(frozen=True, slots=True)
class BtpAddress:
    """What to dial, without the credentials, and these: percent-decoded, None where the URL had none."""

    url: str
    username: str | None = None
    token: str | None = field(default=None, repr=False)


def parse_btp_address(text: str, *, username: str | None = None, token: str | None = None) -> BtpAddress:
    """Read such a URL; `username` and `token` are those of the options beside it, instead of any in the URL.

    Raises BtpAddressError; its message never shows the URL, for a token may be in it.
    """
    if not text.startswith(PREFIX):
        raise BtpAddressError("no_btp_url", "server", f"should start with {PREFIX}")
    try:
        parts = urlsplit(text.removeprefix(PREFIX))
        host, port = parts.hostname, parts.port
        found = tuple(None if part is None else unquote_to_bytes(part).decode() for part in _credentials(parts.netloc))
    except ValueError:
        raise BtpAddressError("no_btp_url", "server", "should be a URL") from None
    if parts.scheme not in ("ws", "wss") or not host or len(text) > MAX_URL_LENGTH:
        raise BtpAddressError("no_btp_url", "server", "should be a URL btp+ws://… or btp+wss://…")
    if any(found) and (username or token):
        raise BtpAddressError("credentials_twice", "account and token", "should be in the URL or beside it, not both")
    bracketed = f"[{host}]" if ":" in host else host
    netloc = bracketed if port is None else f"{bracketed}:{port}"
    url = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
    in_url_username, in_url_token = found
    return BtpAddress(url, username or in_url_username, token or in_url_token)


def _credentials(netloc: str) -> tuple[str | None, str | None]:
    user, at, _ = netloc.rpartition("@")
    if not at:
        return None, None
    username, colon, token = user.partition(":")
    return username, token if colon else None
