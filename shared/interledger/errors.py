"""One hierarchy for everything that can be wrong with Interledger data.

Input from a stranger never raises anything else: a caller that catches `InterledgerError` has caught it all.
"""

from __future__ import annotations


class InterledgerError(Exception):
    """Base of all errors of this package.

    `code` is stable snake_case and meant for programs; `field` names what was read or written, `rule` says what it
    breaks; `str(error)` is both and is meant for people. None of them ever holds a token, a key, a secret or a signed
    package.
    """

    def __init__(self, code: str, field: str, rule: str) -> None:
        """Take the stable `code`, the name of the `field` and the `rule` as the end of a sentence about it."""
        self.code = code
        self.field = field
        self.rule = rule
        super().__init__(code, field, rule)

    def __str__(self) -> str:
        return f"{self.field} {self.rule}"


class DecodingError(InterledgerError):
    """Bytes or text of somebody else that have no meaning, or more than one.

    Codes: `cut_short`, `bad_length`, `too_long`, `too_many`, `not_ascii`, `bad_timestamp`, `bad_amount`, `bad_address`,
    `unknown_type`, `wrong_type`, `wrong_version`, `not_utf8`, `bad_json`.
    """


class EncodingError(InterledgerError):
    """A value of ours that the wire cannot carry. Codes: `bad_value`, `too_long`, `too_many`, `bad_address`."""


class PeerRequestError(InterledgerError):
    """A request to, or an answer from, an address under `peer.` that breaks its protocol.

    Codes: `wrong_destination`, `wrong_condition`, `wrong_fulfillment`, `expired`, `wrong_type`.
    """


class SealError(InterledgerError):
    """Sealed STREAM data, a token or a receipt that does not open with our secret.

    Codes: `too_short`, `not_opened`, `bad_token`, `bad_receipt`, `bad_secret`.
    """


class ClaimError(InterledgerError):
    """A claim or a message about a channel whose shape is wrong; `code` is `bad_claim` or `bad_message`."""


class StateError(InterledgerError):
    """We asked a state machine for what its state does not allow.

    Codes: `not_open`, `not_judging`, `request_limit`, `not_answering`.
    """
