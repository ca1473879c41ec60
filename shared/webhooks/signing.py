"""Signed messages after Standard Webhooks: `webhook-id`, `webhook-timestamp` and `webhook-signature`.

A signature covers the id, the time and the body. The id is the same on each attempt, so that the receiver can tell
what it had already; the time is that of the attempt. While a secret is replaced, both sign: `v1,… v1,…`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.webhooks.errors import SecretError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
TOLERANCE_S = 300
"""How old a message may be, and how far ahead of our clock."""
MAX_SIGNATURES = 16
_ID = re.compile(r"[!-\-/-~]{1,256}")
"""Printable, without a full stop: that separates what is signed."""
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that messages are signed with."""

    key: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The secret as it is handed over: `whsec_` and base64."""
        return PREFIX + base64.b64encode(self.key).decode()


def new_secret(random_bytes: Callable[[int], bytes]) -> Secret:
    """Return a new secret. `random_bytes`: as `secrets.token_bytes`."""
    return Secret(random_bytes(SECRET_BYTES))


def read_secret(text: str) -> Secret:
    """Return the secret that `whsec_…` names. Raises SecretError, which never shows it."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise SecretError(f"must be {PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64")
    return Secret(key)


def signed_headers(secrets: Sequence[Secret], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of one attempt, signed with every secret. `message_id`: printable, without a full stop."""
    if not secrets or _ID.fullmatch(message_id) is None:
        raise ValueError("a message is signed with at least one secret and has an id without full stops")
    signatures = (
        f"v1,{base64.b64encode(_sign(secret, message_id, str(timestamp_s), body)).decode()}" for secret in secrets
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def verify(secrets: Sequence[Secret], headers: Mapping[str, str], body: bytes, *, now_s: float) -> str:
    """Return the id of a message that was signed with one of the secrets within 5 minutes of `now_s`.

    `headers`: names in small letters, or a mapping that does not mind. Raises SignatureError, whose text does not
    tell a wrong secret from a changed message.
    """
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if _ID.fullmatch(message_id) is None or _TIMESTAMP.fullmatch(timestamp) is None:
        raise SignatureError("a message needs webhook-id and webhook-timestamp")
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise SignatureError(f"webhook-timestamp is more than {TOLERANCE_S} s from now")
    expected = [_sign(secret, message_id, timestamp, body) for secret in secrets]
    given = [_signature(part) for part in headers.get("webhook-signature", "").split(" ")[:MAX_SIGNATURES]]
    # Every pair is compared: how long that takes tells nothing.
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]
    if not any(matches):
        raise SignatureError("no signature fits")
    return message_id


def _sign(secret: Secret, message_id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(secret.key, b".".join((message_id.encode(), timestamp.encode(), body)), hashlib.sha256)


def _signature(part: str) -> bytes:
    version, _, text = part.partition(",")
    if version != "v1":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
