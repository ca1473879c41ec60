"""Composing and signing units of one address (Obyte, ocore `composer.js` and `inputs.js`).

    inputs = outputs + change + headers commission + payload commission + oversize fee + TPS fee

holds exactly, and the change is at least 1 byte: nothing is ever burned. Asset payments balance by themselves; all fees
are paid by the one base payment that every unit has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.obyte import units
from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.coins import BASE, Coin
from shared.obyte.errors import CompositionError
from shared.obyte.hashing import length_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

MAX_AMOUNT = 9_000_000_000_000_000
MAX_OUTPUTS = 128
MAX_COINS = 126
"""The network allows 128 inputs; the reference leaves room for two more."""
MAX_MESSAGES = 128
MAX_PARENTS = 16
HASH_CHARACTERS = 44
SIGNATURE_PLACEHOLDER = "-" * 88
"""A signature always has 88 characters, so sizes are known before signing."""


@dataclass(frozen=True, slots=True)
class Output:
    """Pay `amount` (smallest unit of `asset`) to `address`."""

    address: str
    amount: int
    asset: str = BASE


@dataclass(frozen=True, slots=True)
class Parents:
    """Where a new unit attaches and what the network charges for its arrival, as told by the hub."""

    timestamp_s: int
    parent_units: tuple[str, ...]
    last_ball: str
    last_ball_unit: str
    last_ball_mci: int
    tps_fee: int
    count_primary_aa_triggers: int = 0


@dataclass(frozen=True, slots=True)
class Fees:
    """What a unit costs, in bytes."""

    headers: int
    payload: int
    oversize: int
    tps: int

    @property
    def total(self) -> int:
        """Everything the inputs pay beyond the outputs."""
        return self.headers + self.payload + self.oversize + self.tps


@dataclass(frozen=True, slots=True)
class Joint:
    """A signed unit ready to be journaled and posted."""

    unit: dict[str, JsonValue] = field(repr=False)
    unit_hash: str
    spent: tuple[Coin, ...]
    change: int
    fees: Fees

    def as_json(self) -> dict[str, JsonValue]:
        """Return what `post_joint` takes."""
        return {"unit": self.unit}


def read_parents(
    answer: JsonValue, *, now_s: float, last_seen_mci: int = 0, max_clock_difference_s: float = 300
) -> Parents:
    """Read the hub's answer about parents. Raises CompositionError `bad_parents` when it cannot be believed."""
    if not isinstance(answer, dict):
        raise CompositionError("bad_parents", "the answer about parents must be an object")
    hashes = answer.get("parent_units")
    if not (isinstance(hashes, list) and 0 < len(hashes) <= MAX_PARENTS and all(map(_is_hash, hashes))):
        raise CompositionError("bad_parents", f"parent_units must be 1 to {MAX_PARENTS} unit hashes")
    parent_units = tuple(str(parent) for parent in hashes)
    if list(parent_units) != sorted(set(parent_units)):
        raise CompositionError("bad_parents", "parent_units must be sorted and distinct")
    for name in ("last_stable_mc_ball", "last_stable_mc_ball_unit"):
        if not _is_hash(answer.get(name)):
            raise CompositionError("bad_parents", f"{name} must be a hash")
    parents = Parents(
        timestamp_s=_counter(answer, "timestamp"),
        parent_units=parent_units,
        last_ball=str(answer["last_stable_mc_ball"]),
        last_ball_unit=str(answer["last_stable_mc_ball_unit"]),
        last_ball_mci=_counter(answer, "last_stable_mc_ball_mci"),
        tps_fee=_counter(answer, "tps_fee"),
        count_primary_aa_triggers=_counter(answer, "count_primary_aa_triggers"),
    )
    if parents.last_ball_mci < last_seen_mci:
        raise CompositionError("bad_parents", "last_stable_mc_ball_mci is lower than one seen before")
    if abs(parents.timestamp_s - now_s) > max_clock_difference_s:
        raise CompositionError("bad_parents", f"timestamp is more than {max_clock_difference_s:g} s from our clock")
    return parents


def data_message(payload: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Message that carries data to an agent (only the first of a unit is seen by it)."""
    return {"app": "data", "payload": payload}


def definition_message(address: str, definition: JsonValue) -> dict[str, JsonValue]:
    """Message that publishes an agent."""
    return {"app": "definition", "payload": {"address": address, "definition": definition}}


def compose(  # noqa: PLR0913 (a unit has that many ingredients; all are named)
    *,
    network: Network,
    key: KeyPair,
    coins: Iterable[Coin],
    parents: Parents,
    payments: Sequence[Output],
    messages: Sequence[Mapping[str, JsonValue]] = (),
    include_definition: bool,
    change_address: str | None = None,
    max_aa_responses: int | None = None,
    threshold_size: int = 10_000,
    max_fee_ratio: float = 100,
) -> Joint:
    """Compose and sign one unit of the address of `key`.

    `coins` are what may be spent (see `CoinSet.spendable`); those of other addresses are left alone. `messages` are
    `{"app", "payload"}` and come first. `include_definition` must be True exactly while no stable unit carries the
    definition. `max_aa_responses` goes into the unit only when the hub counts an agent among the outputs.
    `threshold_size` is the system variable in force. Change goes to `change_address`, by default the key's.

    Raises CompositionError: `bad_output`, `too_many_outputs`, `too_many_messages`, `not_enough_funds`,
    `fee_too_high` (oversize and TPS fee over `max_fee_ratio` times the commissions).
    """
    _check_outputs(payments)
    change_to = change_address or key.address
    purse = _Purse(coin for coin in coins if coin.address == key.address)
    spent: list[Coin] = []

    asset_messages = []
    for asset in dict.fromkeys(payment.asset for payment in payments if payment.asset != BASE):
        outputs = [payment for payment in payments if payment.asset == asset]
        chosen = purse.pick_asset(asset, sum(output.amount for output in outputs))
        asset_change = sum(coin.amount for coin in chosen) - sum(output.amount for output in outputs)
        if asset_change:
            outputs.append(Output(change_to, asset_change, asset))
        asset_messages.append(_message("payment", _payment_payload(chosen, outputs, asset)))
        spent += chosen

    custom = [_message(str(message["app"]), message["payload"]) for message in messages]
    if len(custom) + 1 + len(asset_messages) > MAX_MESSAGES:
        raise CompositionError("too_many_messages", f"a unit may have at most {MAX_MESSAGES} messages")
    base_outputs = [payment for payment in payments if payment.asset == BASE]
    author: dict[str, JsonValue] = {"address": key.address, "authentifiers": {"r": SIGNATURE_PLACEHOLDER}}
    if include_definition:
        author["definition"] = key.definition
    unit: dict[str, JsonValue] = {
        "version": network.version,
        "alt": network.alt,
        "timestamp": parents.timestamp_s,
        "authors": [author],
        "parent_units": list(parents.parent_units),
        "last_ball": parents.last_ball,
        "last_ball_unit": parents.last_ball_unit,
        "tps_fee": parents.tps_fee,
    }
    if max_aa_responses is not None and parents.count_primary_aa_triggers > 0:
        unit["max_aa_responses"] = max_aa_responses

    unit["messages"] = [*custom, _unpaid([*base_outputs, Output(change_to, 1)]), *asset_messages]
    bill = _Bill(
        outputs=sum(output.amount for output in base_outputs),
        headers=units.headers_commission(unit, network),
        payload_without_inputs=units.payload_commission(unit, network),
        tps=parents.tps_fee,
        threshold_size=threshold_size,
    )
    base_coins = purse.pick_base(bill)
    fees = bill.fees(len(base_coins))
    if fees.oversize + fees.tps > max_fee_ratio * (fees.headers + fees.payload):
        raise CompositionError(
            "fee_too_high", f"oversize fee {fees.oversize} and TPS fee {fees.tps} exceed {max_fee_ratio:g} commissions"
        )
    change = sum(coin.amount for coin in base_coins) - bill.outputs - fees.total
    spent += base_coins
    base_payload = _payment_payload(base_coins, [*base_outputs, Output(change_to, change)], BASE)
    unit["messages"] = [*custom, _message("payment", base_payload), *asset_messages]
    if fees.oversize:
        unit["oversize_fee"] = fees.oversize
    author["authentifiers"] = {"r": key.sign(units.unit_hash_to_sign(unit, network))}
    unit["headers_commission"] = fees.headers
    unit["payload_commission"] = fees.payload
    unit_hash = units.unit_hash(unit, network)
    unit["unit"] = unit_hash
    return Joint(unit, unit_hash, tuple(spent), change, fees)


@dataclass(frozen=True, slots=True)
class _Bill:
    """What the base inputs have to pay; it grows with their number."""

    outputs: int
    headers: int
    payload_without_inputs: int
    tps: int
    threshold_size: int

    def fees(self, inputs: int) -> Fees:
        payload = self.payload_without_inputs + inputs * INPUT_SIZE
        oversize = units.oversize_fee(self.headers + payload, self.threshold_size)
        return Fees(self.headers, payload, oversize, self.tps)

    def required(self, inputs: int) -> int:
        return self.outputs + self.fees(inputs).total


class _Purse:
    """The coins a unit may spend, and the reference's way of choosing among them."""

    def __init__(self, coins: Iterable[Coin]) -> None:
        self._coins = sorted({coin.outpoint: coin for coin in coins}.values(), key=lambda coin: coin.outpoint)

    def pick_base(self, bill: _Bill) -> list[Coin]:
        """Coins worth strictly more than the bill: the base payment always has a change output."""
        coins = [coin for coin in self._coins if coin.asset == BASE]
        one = [coin for coin in coins if coin.amount > bill.required(1)]
        if one:
            return [min(one, key=lambda coin: (not coin.is_stable, coin.amount))]
        chosen: list[Coin] = []
        total = 0
        for coin in _largest_first(coins):
            chosen.append(coin)
            total += coin.amount
            if total > bill.required(len(chosen)):
                return chosen
        raise CompositionError(
            "not_enough_funds", f"{total} bytes can be spent, more than {bill.required(len(chosen))} are needed"
        )

    def pick_asset(self, asset: str, amount: int) -> list[Coin]:
        """Coins of an asset worth at least the amount."""
        coins = [coin for coin in self._coins if coin.asset == asset]
        one = [coin for coin in coins if coin.amount >= amount]
        if one:
            return [min(one, key=lambda coin: (not coin.is_stable, coin.amount))]
        chosen: list[Coin] = []
        total = 0
        for coin in _largest_first(coins):
            chosen.append(coin)
            total += coin.amount
            if total >= amount:
                return chosen
        raise CompositionError("not_enough_funds", f"{total} of asset {asset} can be spent, {amount} are needed")


def _largest_first(coins: Iterable[Coin]) -> list[Coin]:
    return sorted(coins, key=lambda coin: -coin.amount)[:MAX_COINS]


def _check_outputs(payments: Sequence[Output]) -> None:
    if len(payments) >= MAX_OUTPUTS:
        raise CompositionError("too_many_outputs", f"at most {MAX_OUTPUTS - 1} outputs and one for the change")
    for payment in payments:
        if not is_valid_address(payment.address):
            raise CompositionError("bad_output", "address must be a valid address")
        if type(payment.amount) is not int or not 1 <= payment.amount <= MAX_AMOUNT:
            raise CompositionError("bad_output", f"amount must be an integer from 1 to {MAX_AMOUNT}")
        if payment.asset != BASE and not _is_hash(payment.asset):
            raise CompositionError("bad_output", 'asset must be "base" or a unit hash')
    if sum(payment.amount for payment in payments) > MAX_AMOUNT:
        raise CompositionError("bad_output", f"all amounts together must not exceed {MAX_AMOUNT}")


def _base_payment(
    coins: Sequence[Coin], outputs: Sequence[Output], change_to: str, change: int
) -> dict[str, JsonValue]:
    payload = _payment_payload(coins, [*outputs, Output(change_to, change)], BASE)
    return {"app": "payment", "payload_location": "inline", "payload": payload}


def _payment_payload(coins: Sequence[Coin], outputs: Sequence[Output], asset: str) -> dict[str, JsonValue]:
    ordered = sorted(outputs, key=lambda output: (output.address, output.amount))
    payload: dict[str, JsonValue] = {
        "inputs": [_input(coin) for coin in coins],
        "outputs": [{"address": output.address, "amount": output.amount} for output in ordered],
    }
    if asset != BASE:
        payload["asset"] = asset
    return payload


def _unpaid(outputs: Sequence[Output]) -> dict[str, JsonValue]:
    """Return the base payment without inputs, to know its size before coins are chosen."""
    message = {"app": "payment", "payload_location": "inline", "payload_hash": "-" * HASH_CHARACTERS}
    return {**message, "payload": _payment_payload((), outputs, BASE)}


def _input(coin: Coin) -> dict[str, JsonValue]:
    return {"unit": coin.unit, "message_index": coin.message_index, "output_index": coin.output_index}


def _message(app: str, payload: JsonValue) -> dict[str, JsonValue]:
    return {"app": app, "payload_location": "inline", "payload": payload, "payload_hash": units.payload_hash(payload)}


def _is_hash(value: JsonValue) -> bool:
    return isinstance(value, str) and is_valid_base64(value, HASH_CHARACTERS)


def _counter(answer: Mapping[str, JsonValue], name: str) -> int:
    value = answer.get(name)
    if type(value) is not int or value < 0:
        raise CompositionError("bad_parents", f"{name} must be an integer of at least 0")
    return value


INPUT_SIZE = length_of(_input(Coin("-" * HASH_CHARACTERS, 0, 0, "", BASE, 1)), with_keys=True)
"""Bytes that one input adds to the payload commission: 89."""
