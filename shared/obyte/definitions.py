"""Address definitions: who must sign for an address (Obyte, ocore `definition.js`).

A definition is an expression such as `["sig", {"pubkey": ...}]` or `["and", [definition, definition]]`. Those of
plain wallets and multisignature wallets are understood here: `sig`, `or`, `and`, `r of set` and `weighted and`. The
operators that look at the ledger or into a message are refused as unsupported, so they never pass unchecked.

All four combining operators are one thing, a weighted threshold, and that is what a definition is parsed into. Since
every leaf is a key, every way to satisfy a definition includes a signature, as the ledger demands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.obyte.addresses import PUBKEY_CHARACTERS
from shared.obyte.errors import DefinitionError
from shared.obyte.signatures import verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.obyte.serialization import JsonValue

MAX_COMPLEXITY = 100
MAX_WEIGHT = 1000

_PAIR = 2
_MIN_OPTIONS = 2
_ROOT = "r"


@dataclass(frozen=True, slots=True)
class Key:
    """A leaf: a signature of this key is expected at this path, such as `r` or `r.1.0`."""

    path: str
    pubkey_b64: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """Satisfied when the weights of the satisfied options add up to `required`."""

    required: int
    options: tuple[tuple[int, Key | Threshold], ...]


def parse_definition(definition: JsonValue) -> Key | Threshold:
    """Turn a definition into a tree of thresholds and keys.

    Raises `DefinitionError` (`invalid_definition`, `unsupported_definition`, `definition_too_complex`).
    """
    return _Parser().parse(definition, _ROOT)


def check_authentifiers(definition: JsonValue, authentifiers: Mapping[str, JsonValue], digest: bytes) -> None:
    """Check that the signatures in `authentifiers` (path to signature) satisfy a definition for this digest.

    Every signature present must be right and be used, even where the others alone would suffice. Raises
    `DefinitionError`: what `parse_definition` raises, and `bad_signature`, `unused_authentifiers`,
    `definition_not_satisfied`.
    """
    tree = parse_definition(definition)
    signed_paths = set()
    for key in _keys(tree):
        if key.path not in authentifiers:
            continue
        if not verify(digest, authentifiers[key.path], key.pubkey_b64):
            raise DefinitionError("bad_signature", f"the signature at path {key.path} is wrong")
        signed_paths.add(key.path)
    if len(signed_paths) != len(authentifiers):
        raise DefinitionError("unused_authentifiers", "a signature is at a path that the definition does not have")
    if not _is_satisfied(tree, signed_paths):
        raise DefinitionError("definition_not_satisfied", "the signatures given are not all that the definition needs")


def _keys(node: Key | Threshold) -> Iterator[Key]:
    if isinstance(node, Key):
        yield node
        return
    for _, option in node.options:
        yield from _keys(option)


def _is_satisfied(node: Key | Threshold, signed_paths: set[str]) -> bool:
    if isinstance(node, Key):
        return node.path in signed_paths
    return sum(weight for weight, option in node.options if _is_satisfied(option, signed_paths)) >= node.required


class _Parser:
    """Counts the operators of one definition while parsing it, which also bounds the recursion."""

    def __init__(self) -> None:
        self._operators = 0

    def parse(self, expression: JsonValue, path: str) -> Key | Threshold:
        self._operators += 1
        if self._operators > MAX_COMPLEXITY:
            raise DefinitionError("definition_too_complex", f"a definition has at most {MAX_COMPLEXITY} operators")
        if not isinstance(expression, list | tuple) or len(expression) != _PAIR:
            raise _invalid(path, "an expression must be an array of two elements")
        operator, arguments = expression
        match operator:
            case "sig":
                return _parse_sig(arguments, path)
            case "or" | "and":
                options = self._equal_options(arguments, path)
                return Threshold(1 if operator == "or" else len(options), options)
            case "r of set":
                required, members = _required_and_set(arguments, path)
                return _reachable(Threshold(required, self._equal_options(members, path)), path)
            case "weighted and":
                required, members = _required_and_set(arguments, path)
                return _reachable(Threshold(required, self._weighted_options(members, path)), path)
            case str():
                raise DefinitionError("unsupported_definition", f"the operator at path {path} is not supported")
            case _:
                raise _invalid(path, "an operator must be a string")

    def _equal_options(self, members: JsonValue, path: str) -> tuple[tuple[int, Key | Threshold], ...]:
        return tuple((1, self.parse(member, f"{path}.{index}")) for index, member in enumerate(_options(members, path)))

    def _weighted_options(self, members: JsonValue, path: str) -> tuple[tuple[int, Key | Threshold], ...]:
        options = []
        for index, member in enumerate(_options(members, path)):
            if not isinstance(member, dict) or member.keys() != {"value", "weight"}:
                raise _invalid(path, "a weighted option must have a value and a weight, nothing else")
            weight = _positive(member["weight"], path, "a weight")
            options.append((weight, self.parse(member["value"], f"{path}.{index}")))
        return tuple(options)


def _parse_sig(arguments: JsonValue, path: str) -> Key:
    if not isinstance(arguments, dict) or arguments.keys() != {"pubkey"}:
        # The one algorithm there is must not be named: a definition would otherwise have two addresses.
        raise _invalid(path, "sig must have a pubkey and nothing else")
    pubkey = arguments["pubkey"]
    if not isinstance(pubkey, str) or len(pubkey) != PUBKEY_CHARACTERS:
        raise _invalid(path, f"a pubkey must have {PUBKEY_CHARACTERS} characters")
    return Key(path, pubkey)


def _required_and_set(arguments: JsonValue, path: str) -> tuple[int, JsonValue]:
    if not isinstance(arguments, dict) or arguments.keys() != {"required", "set"}:
        raise _invalid(path, "a threshold must have required and set, nothing else")
    return _positive(arguments["required"], path, "required"), arguments["set"]


def _options(members: JsonValue, path: str) -> list[JsonValue]:
    if not isinstance(members, list) or len(members) < _MIN_OPTIONS:
        raise _invalid(path, f"there must be an array of at least {_MIN_OPTIONS} options")
    return members


def _positive(number: JsonValue, path: str, what: str) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_WEIGHT:
        raise _invalid(path, f"{what} must be an integer between 1 and {MAX_WEIGHT}")
    return number


def _reachable(threshold: Threshold, path: str) -> Threshold:
    if threshold.required > sum(weight for weight, _ in threshold.options):
        raise _invalid(path, "required must not exceed what all options weigh together")
    return threshold


def _invalid(path: str, rule: str) -> DefinitionError:
    return DefinitionError("invalid_definition", f"definition at path {path}: {rule}")
