"""One hierarchy for everything that can be wrong with Obyte data.

Input from a stranger never raises anything else: a caller that catches `ObyteError` has caught it all.
"""

from __future__ import annotations


class ObyteError(Exception):
    """Base of all errors of this package.

    `code` is stable snake_case and meant for programs, `str(error)` names the field and the rule and is
    meant for people. Neither ever holds a signed package, a seed, a key or a passphrase.
    """

    def __init__(self, code: str, text: str | None = None) -> None:
        """Take the stable `code` and a sentence; without a sentence the code itself is the text."""
        self.code = code
        self.text = code.replace("_", " ") if text is None else text
        super().__init__(code, self.text)

    def __str__(self) -> str:
        return self.text


class NetworkError(ObyteError):
    """A network name nobody knows (`unknown_network`)."""


class SerializationError(ObyteError):
    """A value has no canonical text: it cannot be hashed.

    Codes: `null_value`, `empty_object`, `empty_array`, `nul_character`, `invalid_number`, `invalid_key`,
    `unsupported_type`, `too_deep`, `invalid_json`.
    """


class AddressError(ObyteError):
    """An address, definition or key from which no address can be made (`invalid_definition`, `invalid_pubkey`)."""


class KeyDerivationError(ObyteError):
    """A seed phrase or derivation path that cannot be used (`invalid_mnemonic`, `invalid_entropy`, `invalid_path`)."""


class SignatureError(ObyteError):
    """A key that cannot sign, or something that cannot be signed (`invalid_private_key`, `invalid_digest`)."""


class DefinitionError(ObyteError):
    """An address definition that is malformed, unsupported, or not satisfied by the signatures given.

    Codes: `invalid_definition`, `unsupported_definition`, `definition_too_complex`, `definition_without_signature`,
    `bad_signature`, `unused_authentifiers`, `definition_not_satisfied`.
    """


class SignedMessageError(ObyteError):
    """A signed message (signed package) that must not be trusted. The codes are listed in `signed_messages`."""


class UnitError(ObyteError):
    """A unit or joint that breaks a rule of the ledger. The codes are listed in `units`."""


class CompositionError(ObyteError):
    """A unit that cannot be composed, such as `not_enough_funds` or `fee_too_high`."""


class FeeTooHighError(CompositionError):
    """The network asks for more than the limit (`fee_too_high`): oversize and TPS fee, both in bytes."""

    def __init__(self, *, quoted: int, allowed: float) -> None:
        super().__init__("fee_too_high", f"oversize and TPS fee are {quoted} bytes, the limit is {allowed:.0f}")
        self.quoted = quoted
        self.allowed = int(allowed)


class HistoryProofError(ObyteError):
    """A light history whose proof does not hold."""


class HubError(ObyteError):
    """A hub that refused, stayed silent, or went away."""


class DeviceMessageError(ObyteError):
    """A pairing code, a device message or a temporary key that must not be trusted.

    Codes: `invalid_pairing_code`, `invalid_temporary_key`, `missing_field`, `not_for_us`, `wrong_hash`,
    `wrong_signature`, `wrong_sender`, `unknown_key`, `too_many_layers`, `undecryptable`, `not_an_object`.
    """
