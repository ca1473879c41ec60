"""Why a request is not handled: problem documents, and answers that were given before. Raised by the dependency."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from sluice.terms import PROBLEM_TYPE, RECEIPT_HEADER, encode_receipt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.strict_json import JsonValue
    from sluice.terms import PaidReceipt

MAX_KEPT_BYTES = 65_000
"""Of an answer as it is kept: a receiver keeps 65 536 bytes of JSON. In base64 that is a body of some 48 000."""
TOO_LARGE: JsonValue = {"http": "too large to be kept"}
RECEIPT = RECEIPT_HEADER.lower()
_NOT_KEPT = frozenset({"connection", "content-length", "date", "server", "set-cookie", "transfer-encoding", RECEIPT})
_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class Outcome(Exception):  # noqa: N818 - not always an error
    """The request is answered with `response` instead of by its handler."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it is kept with a payment; header names in small letters."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    def encoded(self) -> JsonValue:
        """Return what is kept: this, or when it is too large only that there was an answer."""
        kept: JsonValue = {
            "http": self.status,
            "headers": [[name, value] for name, value in self.headers if name not in _NOT_KEPT],
            "body": base64.b64encode(self.body).decode("ascii"),
        }
        return kept if len(json.dumps(kept)) <= MAX_KEPT_BYTES else TOO_LARGE

    @classmethod
    def decoded(cls, kept: JsonValue) -> KeptAnswer | None:
        """Read what is kept; None if that is no answer over HTTP."""
        match kept:
            case {"http": int(status), "headers": list(headers), "body": str(body)}:
                pairs = tuple((str(pair[0]), str(pair[1])) for pair in headers if isinstance(pair, list))
                return cls(status, pairs, base64.b64decode(body))
        return None

    def response(self, receipt: PaidReceipt) -> Response:
        """Return it as a response, with a receipt."""
        response = Response(self.body, self.status)
        headers = [*self.headers, (RECEIPT, encode_receipt(receipt))]
        if self.status not in _WITHOUT_BODY:
            headers.append(("content-length", str(len(self.body))))
        response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return response


def problem(
    status: int,
    code: str,
    text: str,
    *,
    members: Mapping[str, Any] | None = None,
    receipt: PaidReceipt | None = None,
    retry_after_s: int | None = None,
) -> Outcome:
    """Return a problem document (RFC 9457) to raise. With a `receipt` the money was taken, now or earlier."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": text,
        "code": code,
        **(members or {}),
    }
    headers = {"cache-control": "no-store"}
    if receipt is not None:
        headers[RECEIPT] = encode_receipt(receipt)
    if retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s)
    return Outcome(JSONResponse(document, status, headers=headers, media_type=PROBLEM_TYPE))
