"""One hierarchy for everything that can be wrong with Moneysocket data.

Input from a stranger never raises anything else: a caller that catches `MoneysocketError` has caught it all.
"""

from __future__ import annotations


class MoneysocketError(Exception):
    """Base of all errors of this package.

    `code` is stable snake_case and meant for programs, `str(error)` names the field and the rule and is
    meant for people. Neither ever holds a seed, a key, a beacon or a preimage.
    """

    def __init__(self, code: str, text: str | None = None) -> None:
        """Take the stable `code` and a sentence; without a sentence the code itself is the text."""
        self.code = code
        self.text = code.replace("_", " ") if text is None else text
        super().__init__(code, self.text)

    def __str__(self) -> str:
        return self.text


class EncodingError(MoneysocketError):
    """Bytes or text that are not what they should encode.

    Codes: `truncated`, `not_minimal`, `integer_out_of_range` (BigSize and TLV); `not_bech32`, `bad_checksum`,
    `bad_padding` (bech32); `not_utf8`, `not_json`, `nested_too_deep` (JSON); `too_long` (any).
    """


class BeaconError(MoneysocketError):
    """A beacon, location or seed that cannot be used.

    Codes: `wrong_prefix`, `wrong_type`, `bad_seed`, `bad_location`, `unknown_location`, `bad_version`, `bad_role`,
    `not_minimal`, `trailing_bytes`.
    """


class WadError(MoneysocketError):
    """An amount, rate or provider's description that breaks a rule (`bad_wad`, `bad_rate`, `bad_amount`)."""


class MessageError(MoneysocketError):
    """A message that breaks a rule of its kind.

    Codes: `not_an_object`, `missing_field`, `bad_field`, `unknown_kind`, `bad_envelope`.
    """


class FrameError(MoneysocketError):
    """A frame that is refused before or after its message could be read.

    Codes: `too_long`, `impossible_length`, `no_seed` (ciphertext for someone without the seed), `undecryptable` (what
    was decrypted is no message), `clear_message` (an application message that was not encrypted),
    `encrypted_message` (a rendezvous message that was); `replayed`, `reflected`, `too_old`, `wrong_time` (repetitions,
    see `replay`).
    """


class ProtocolError(MoneysocketError):
    """An order that the state of a session does not allow.

    Codes: `not_announced`, `already_started`, `too_many_open`, `unknown_request`, `duplicate_request`,
    `bad_order`.
    """
