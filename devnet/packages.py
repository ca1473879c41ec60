"""Which signed packages the channel agent takes as evidence (Obyte, `is_valid_signed_package` of formulas).

The agent is stricter than wallets are (no `timestamp`, no version 1) and laxer (no version at all, several authors,
definitions of up to ten operators, a reference to a stable unit of the ledger). One difference is left on purpose:
a signature must be canonical base64 here, the real agent also decodes sloppy text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte.definitions import Key, Threshold, parse_definition
from shared.obyte.errors import ObyteError, SignedMessageError
from shared.obyte.signed_messages import DefinitionLookup, verify_signed_message

if TYPE_CHECKING:
    from devnet.agent import PackageVerifier
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

MAX_OPERATORS = 10
_PACKAGE_FIELDS = frozenset({"signed_message", "last_ball_unit", "authors", "version"})


def package_verifier(network: Network, find_definition: DefinitionLookup | None = None) -> PackageVerifier:
    """Return the agent's test of packages; without `find_definition` it knows no ledger and refuses references."""

    def verify(package: JsonValue, signer: str) -> bool:
        if not isinstance(package, dict) or not package.keys() <= _PACKAGE_FIELDS:
            return False
        if package.get("version") == network.version_without_timestamp:
            return False
        operators = _OperatorCount(find_definition)
        try:
            verify_signed_message(package, network, expected_signer=signer, find_definition=operators.find_definition)
            operators.add_disclosed(package)
        except ObyteError:
            return False
        return operators.total <= MAX_OPERATORS

    return verify


class _OperatorCount:
    """Adds up the operators of the definitions of all authors, disclosed in the package or on the ledger."""

    def __init__(self, find_definition: DefinitionLookup | None) -> None:
        self._find_definition = find_definition
        self.total = 0

    def find_definition(self, address: str, last_ball_unit: str) -> JsonValue:
        if self._find_definition is None:
            raise SignedMessageError("network_aware", "the package refers to a ledger that is not there")
        definition = self._find_definition(address, last_ball_unit)
        if definition is not None:
            self.total += _operators(parse_definition(definition))
        return definition

    def add_disclosed(self, package: dict[str, JsonValue]) -> None:
        authors = package["authors"]
        for author in authors if isinstance(authors, list) else ():
            if "definition" in author:
                self.total += _operators(parse_definition(author["definition"]))


def _operators(node: Key | Threshold) -> int:
    return 1 if isinstance(node, Key) else 1 + sum(_operators(option) for _, option in node.options)
