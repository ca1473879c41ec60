"""Turns what an agent wants to send into a unit that pays its own way (Obyte, ocore `aa_composer.js`).

An agent spends its oldest coins first, keeps change for itself, and pays the size of the unit out of its bytes. An
output without amount takes all that is left but for the bytes its state variables occupy. Agents' data is small, so
the oversize fee, from which their payments are exempt, never comes up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devnet.agent import BASE, Data, Message
from shared.obyte.hashing import length_of
from shared.obyte.selection import INPUT_SIZE
from shared.obyte.units import headers_commission, payload_commission, payload_hash, unit_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devnet.dag import UnitRecord
    from devnet.outputs import LedgerOutput
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

DUST_BYTES = INPUT_SIZE
"""Byte coins smaller than the input that spends them are never touched: they would eat the agent's money."""

_ANY_ADDRESS = "-" * 32
_OUTPUT_SIZE = length_of({"address": _ANY_ADDRESS, "amount": 0}, with_keys=True)
_OPEN_OUTPUT_SIZE = length_of({"address": _ANY_ADDRESS}, with_keys=True)
_PLACEHOLDER_HASH = "-" * 44


MAX_VALUES = 10_000
"""Most values in a unit, agents' units included: about 2 450 coins are all that an agent can spend at once."""


class CannotSendError(Exception):
    """The agent has not enough for what it wants to send: the trigger bounces with this message."""

    def __init__(self, message: str) -> None:
        """Take the text of the bounce."""
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Coins:
    """What an agent may spend, oldest first: coins stable when the trigger became so, then coins other agents sent."""

    stable: Sequence[LedgerOutput] = ()
    from_agents: Sequence[LedgerOutput] = ()

    def of(self, asset: str) -> tuple[list[LedgerOutput], list[LedgerOutput]]:
        """Return the stable and the unstable coins of an asset that are worth spending."""
        least = DUST_BYTES if asset == BASE else 1
        stable, unstable = (
            [coin for coin in group if coin.asset == asset and coin.amount >= least]
            for group in (self.stable, self.from_agents)
        )
        return stable, unstable


@dataclass(frozen=True, slots=True)
class ResponseUnit:
    """A composed unit and the coins it spends."""

    unit: dict[str, JsonValue] = field(repr=False)
    spent: tuple[LedgerOutput, ...]


def compose_response(
    network: Network,
    address: str,
    messages: Sequence[Message],
    coins: Coins,
    *,
    main_chain_unit: UnitRecord,
    parents: tuple[str, ...],
    storage_size: int,
) -> ResponseUnit | None:
    """Compose the unit an agent answers with; None when nothing is left to send. Raises CannotSendError."""
    drafts = [_Draft.of(message, address) for message in messages]
    for draft in drafts:
        if draft.asset not in (None, BASE) and draft.sends_something:
            draft.fund(coins, size=0)
    drafts = [draft for draft in drafts if draft.asset is None or draft.sends_something]
    if not drafts:
        return None
    base = next((draft for draft in drafts if draft.asset == BASE), None)
    if base is None:
        base = _Draft(address, BASE)
        drafts.append(base)
    told: dict[str, Any] = main_chain_unit.unit
    unit: dict[str, JsonValue] = {
        "version": network.version,
        "alt": network.alt,
        "timestamp": main_chain_unit.timestamp_s,
        "messages": [draft.as_json() for draft in drafts],
        "authors": [{"address": address}],
        "last_ball_unit": told["last_ball_unit"],
        "last_ball": told["last_ball"],
        "parent_units": list(parents),
    }
    headers = headers_commission(unit, network)
    size = headers + payload_commission(unit, network) + len("inputs")
    base.fund(coins, size=base.charge_open_output(size, storage_size))
    unit["messages"] = [draft.as_json() for draft in drafts]
    unit["headers_commission"] = headers
    unit["payload_commission"] = payload_commission(unit, network)
    unit["unit"] = unit_hash(unit, network)
    if _count_values(unit) > MAX_VALUES:
        raise CannotSendError("unit is too deeply nested")
    return ResponseUnit(unit, tuple(coin for draft in drafts for coin in draft.spent))


def _count_values(value: JsonValue) -> int:
    members: list[JsonValue] = (
        list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    )
    return len(members) + sum(map(_count_values, members))


@dataclass(slots=True)
class _Draft:
    """A message being made; `asset` None marks data. An open output takes all that is left."""

    address: str
    asset: str | None
    data: dict[str, JsonValue] = field(default_factory=dict)
    outputs: list[tuple[str, int]] = field(default_factory=list)
    open_to: str | None = None
    spent: list[LedgerOutput] = field(default_factory=list)
    _spent_total: int = 0
    _needed: int = 0
    _open_amount: int = 0
    _is_funded: bool = False

    @classmethod
    def of(cls, message: Message, address: str) -> _Draft:
        if isinstance(message, Data):
            return cls(address, None, message.payload)
        fixed = [(output.address, output.amount) for output in message.outputs if output.amount]
        open_to = next((output.address for output in message.outputs if output.amount is None), None)
        return cls(address, message.asset, outputs=fixed, open_to=open_to)

    @property
    def sends_something(self) -> bool:
        return bool(self.outputs) or self.open_to is not None

    def charge_open_output(self, size: int, storage_size: int) -> int:
        """Return the size without the open output, which is charged once it has an amount."""
        if self.open_to is None:
            return size
        if storage_size > DUST_BYTES:
            self.outputs.append((self.address, storage_size))
            size += _OUTPUT_SIZE
        return size - _OPEN_OUTPUT_SIZE

    def fund(self, coins: Coins, *, size: int) -> None:
        """Pick coins for the outputs and the size, and settle change and open output. Raises CannotSendError."""
        asset = self.asset or BASE
        self._needed = size + sum(amount for _, amount in self.outputs)
        stable, unstable = coins.of(asset)
        self._pick(stable)
        if not self._is_funded or self.open_to is not None:
            self._pick(unstable)
        if not self._is_funded and (asset == BASE or self.outputs):
            what = "bytes" if asset == BASE else f"of asset {asset}"
            raise CannotSendError(f"not enough funds for {self._needed} {what}")
        if self.open_to is not None and self._open_amount:
            self.outputs.append((self.open_to, self._open_amount))
        self.open_to = None
        if asset == BASE and not self.outputs:
            raise CannotSendError("no outputs")

    def _pick(self, coins: Sequence[LedgerOutput]) -> None:
        is_base = self.asset == BASE
        for coin in coins:
            self.spent.append(coin)
            self._spent_total += coin.amount
            self._needed += INPUT_SIZE if is_base else 0
            left = self._spent_total - self._needed
            change = left - (_OUTPUT_SIZE if is_base else 0)
            if self.open_to is not None:
                self._is_funded = self._is_funded or left == 0 or change > 0
                self._open_amount = max(change, 0)
            elif left == 0 and self.outputs:
                self._is_funded = True
                return
            elif change > 0:
                self._is_funded = True
                self.outputs.append((self.address, change))
                return

    def as_json(self) -> dict[str, JsonValue]:
        if self.asset is None:
            return {
                "app": "data",
                "payload": self.data,
                "payload_location": "inline",
                "payload_hash": payload_hash(self.data),
            }
        payload: dict[str, JsonValue] = {"outputs": self._outputs_json()}
        if self.asset != BASE:
            payload["asset"] = self.asset
        if self.spent:
            payload["inputs"] = [_input(coin) for coin in self.spent]
        hashed = payload_hash(payload) if self.spent else _PLACEHOLDER_HASH
        return {"app": "payment", "payload": payload, "payload_location": "inline", "payload_hash": hashed}

    def _outputs_json(self) -> list[JsonValue]:
        settled: list[JsonValue] = [{"address": to, "amount": amount} for to, amount in sorted(self.outputs)]
        return settled if self.open_to is None else [*settled, {"address": self.open_to}]


def _input(coin: LedgerOutput) -> dict[str, JsonValue]:
    place = coin.outpoint
    return {"unit": place.unit, "message_index": place.message_index, "output_index": place.output_index}
