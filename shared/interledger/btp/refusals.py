"""How a request is refused: the names of errors, their codes, and the text that goes with them (RFC-0023).

    code  name                        meaning for one who receives money
    ----  --------------------------  --------------------------------------------------------------------------
    T00   UnreachableError            try later: overload, drain, the database or the ledger is away
    F00   NotAcceptedError            credentials, a claim that cannot be verified, anything not listed
    F01   InvalidFieldsError          a claim or a field whose shape is wrong
    F03   TransferNotFoundError       a channel that we do not know, or that is another account's
    F04   InvalidFulfillmentError     not ours; names we may meet
    F05   DuplicateIdError            the same claim with other contents
    F06   AlreadyRolledBackError      a channel or period that is closed or closing
    F07   AlreadyFulfilledError       not ours; names we may meet
    F08   InsufficientBalanceError    a claim above what the channel secures

Any other name goes with F00. T may be tried again, F may not with the same request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from shared.interledger.btp.frames import MAX_ERROR_DATA_BYTES, MAX_NAME_BYTES, Error
from shared.strict_json import StrictJsonError, decode

if TYPE_CHECKING:
    from datetime import datetime

UNREACHABLE = "UnreachableError"
NOT_ACCEPTED = "NotAcceptedError"
INVALID_FIELDS = "InvalidFieldsError"
TRANSFER_NOT_FOUND = "TransferNotFoundError"
INVALID_FULFILLMENT = "InvalidFulfillmentError"
DUPLICATE_ID = "DuplicateIdError"
ALREADY_ROLLED_BACK = "AlreadyRolledBackError"
ALREADY_FULFILLED = "AlreadyFulfilledError"
INSUFFICIENT_BALANCE = "InsufficientBalanceError"

CODES: Final = {
    UNREACHABLE: "T00",
    NOT_ACCEPTED: "F00",
    INVALID_FIELDS: "F01",
    TRANSFER_NOT_FOUND: "F03",
    INVALID_FULFILLMENT: "F04",
    DUPLICATE_ID: "F05",
    ALREADY_ROLLED_BACK: "F06",
    ALREADY_FULFILLED: "F07",
    INSUFFICIENT_BALANCE: "F08",
}
NAMES: Final = {code: name for name, code in CODES.items()}
UNLISTED = CODES[NOT_ACCEPTED]


def code_of(name: str) -> str:
    """Return the code that goes with an error's name."""
    return CODES.get(name, UNLISTED)


def may_be_retried(code: str) -> bool:
    """Whether the same request may succeed later."""
    return code.startswith("T")


def refusal(request_id: int, name: str, message: str, at: datetime) -> Error:
    """Return the ERROR to a request. Names that no wire carries become NotAcceptedError, long messages are cut."""
    if not name.isascii() or not 0 < len(name) <= MAX_NAME_BYTES:
        name = NOT_ACCEPTED
    return Error(request_id, code_of(name), name, at, _message_json(message))


def message_in(error: Error) -> str:
    """Return what the peer had to say: `message` of the JSON in `data`, or `data` as it is (both are in use)."""
    try:
        data = decode(error.data.encode(errors="replace"))
    except StrictJsonError:
        return error.data
    message = data.get("message") if isinstance(data, dict) else None
    return message if isinstance(message, str) else error.data


def _message_json(message: str) -> str:
    """Return {"message": …} in at most 8 192 bytes: ASCII only, so that a character is a byte."""
    message = message[:MAX_ERROR_DATA_BYTES]
    text = json.dumps({"message": message})
    while len(text) > MAX_ERROR_DATA_BYTES:
        message = message[: len(message) * (MAX_ERROR_DATA_BYTES - 16) // len(text)]
        text = json.dumps({"message": message})
    return text
