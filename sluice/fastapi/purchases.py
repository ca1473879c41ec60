"""What a package has bought: the request that it came with first, and no other.

The package itself does not say what it is for, and the message beside it is not signed. So the application writes down
what it sells, in the same transaction in which the package is credited: a seal over the package and the request, under
a secret that payers do not have. A payer who brings the package to another door first, with whatever message, has not
bought anything here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.strict_json import JsonValue
    from sluice.terms import PaidReceipt

MAX_SHOWN = 200
BOUND_HEADERS = ("accept", "accept-language", "authorization", "content-type", "range")


@dataclass(frozen=True, slots=True)
class Purchase:
    """A request that is paid for, as its handler sees it.

    `payment_id` is the same when the request comes again: a handler that acts, acts once for each. `is_repeat` says
    that it was credited before, and that no answer was kept, so the handler may have acted already.
    """

    payment_id: int
    amount: int
    asset: str
    aa_address: str
    receipt: PaidReceipt
    is_repeat: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request, as far as it decides what is bought."""

    method: str
    host: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body_digest: str

    @classmethod
    def of(cls, scope: Mapping[str, object], names: Iterable[str], body_digest: str) -> Wanted:
        """Read it from an HTTP scope; `names` of headers count in small letters."""
        counted = {*(name.lower() for name in names), "host"}
        given = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in scope["headers"]  # type: ignore[attr-defined]
            if name.decode("latin-1") in counted
        ]
        path: bytes = scope.get("raw_path") or str(scope["path"]).encode()  # type: ignore[assignment]
        query: bytes = scope.get("query_string") or b""  # type: ignore[assignment]
        target = (path + (b"?" + query if query else b"")).decode("latin-1")
        host = next((value for name, value in given if name == "host"), "")
        headers = tuple(sorted(item for item in given if item[0] != "host"))
        return cls(str(scope["method"]), host, target, headers, body_digest)

    def message(self, secret: bytes, package: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Return what is kept with the payment: for people the method and the path, for us the seal."""
        path = self.target.partition("?")[0][:MAX_SHOWN]
        shown = "".join(character if character.isascii() and character.isprintable() else "?" for character in path)
        return {"http": f"{self.method} {shown}", "seal": self._seal(secret, package)}

    def is_bought(self, secret: bytes, package: Mapping[str, JsonValue], message: JsonValue) -> bool:
        """Whether the message that was kept with the payment says that it bought this request."""
        seal = message.get("seal") if isinstance(message, dict) else None
        return isinstance(seal, str) and hmac.compare_digest(seal.encode(), self._seal(secret, package).encode())

    def _seal(self, secret: bytes, package: Mapping[str, JsonValue]) -> str:
        signed = package.get("signed_message")
        money = [signed.get(name) for name in _MONEY] if isinstance(signed, dict) else []
        sealed = [money, self.method, self.host, self.target, self.headers, self.body_digest]
        return hmac.new(secret, json.dumps(sealed).encode(), hashlib.sha256).hexdigest()


_MONEY = ("aa_address", "period", "amount_spent", "payment_amount")
