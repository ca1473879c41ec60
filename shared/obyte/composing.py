"""Composing and signing units of one address (Obyte, ocore `composer.js` and `inputs.js`).

    inputs = outputs + change + headers commission + payload commission + oversize fee + TPS fee

holds exactly, and the change is at least 1 byte: nothing is ever burned. Asset payments balance by themselves; all fees
are paid by the one base payment that every unit has.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shared.obyte import units
from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.coins import BASE
from shared.obyte.errors import CompositionError
from shared.obyte.selection import Bill, FeeLimit, Fees, Purse, check_reserve, input_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from shared.obyte.coins import Coin, Outpoint
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

MAX_AMOUNT = 9_000_000_000_000_000
MAX_OUTPUTS = 128
MAX_MESSAGES = 128
MAX_PARENTS = 16
HASH_CHARACTERS = 44
SIGNATURE_PLACEHOLDER = "-" * 88
"""A signature always has 88 characters, so sizes are known before signing."""
USUAL_FEE_LIMIT = FeeLimit()


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
    threshold_size: int = units.DEFAULT_THRESHOLD_SIZE,
    fee_limit: FeeLimit = USUAL_FEE_LIMIT,
    reserve: int = 0,
    contested: Collection[Outpoint] = (),
    sends_all: bool = False,
) -> Joint:
    """Compose and sign one unit of the address of `key`.

    `coins` are what may be spent (see `CoinSet.spendable`); those of other addresses are left alone. `messages` are
    `{"app", "payload"}` and come first. `include_definition` must be True exactly while no stable unit carries the
    definition. `max_aa_responses` goes into the unit only when the hub counts an agent among the outputs.
    `threshold_size` is the system variable in force. Change goes to `change_address`, by default the key's.

    `reserve`: bytes that must be left, in the change and in the coins that are not spent. `contested`: coins that an
    earlier unit for the same end spends; one of them is spent again if there is one, so that only one unit can hold.
    `sends_all`: the amount of the one payment is what there is of its asset beyond the reserve and the fees; without
    a payment all bytes go into the change.

    Raises CompositionError: `bad_output`, `too_many_outputs`, `too_many_messages`, `not_enough_funds`,
    `reserve_needed`, FeeTooHighError `fee_too_high`.
    """
    _check_outputs(payments)
    if sends_all and len(payments) > 1:
        raise CompositionError("bad_output", "everything can only be sent to one address")
    change_to = change_address or key.address
    purse = Purse((coin for coin in coins if coin.address == key.address), contested)
    asset_messages, spent = _pay_assets(purse, payments, change_to, sends_all=sends_all)
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
    bill = Bill(
        outputs=sum(output.amount for output in base_outputs),
        headers=units.headers_commission(unit, network),
        payload_without_inputs=units.payload_commission(unit, network),
        tps=parents.tps_fee,
        threshold_size=threshold_size,
    )
    paid = _pay_base(
        purse, bill, base_outputs, fee_limit=fee_limit, reserve=reserve, sends_all=sends_all and not asset_messages
    )
    fees = paid.fees
    spent += paid.coins
    base_payload = _payment_payload(paid.coins, [*paid.outputs, Output(change_to, paid.change)], BASE)
    unit["messages"] = [*custom, _message("payment", base_payload), *asset_messages]
    if fees.oversize:
        unit["oversize_fee"] = fees.oversize
    author["authentifiers"] = {"r": key.sign(units.unit_hash_to_sign(unit, network))}
    unit["headers_commission"] = fees.headers
    unit["payload_commission"] = fees.payload
    unit_hash = units.unit_hash(unit, network)
    unit["unit"] = unit_hash
    return Joint(unit, unit_hash, tuple(spent), paid.change, fees)


@dataclass(frozen=True, slots=True)
class _BasePayment:
    coins: list[Coin]
    outputs: list[Output]
    change: int
    fees: Fees


def _pay_base(
    purse: Purse, bill: Bill, outputs: list[Output], *, fee_limit: FeeLimit, reserve: int, sends_all: bool
) -> _BasePayment:
    """Choose the bytes that pay outputs and fees. `sends_all`: all of them; what is left goes to the one output."""
    fee_limit.check(bill.fees(1))  # before the money is counted: a fee out of reach is no lack of money
    coins = purse.pick_all(BASE) if sends_all else purse.pick_base(bill)
    fees = bill.fees(len(coins))
    fee_limit.check(fees)
    total, unspent = sum(coin.amount for coin in coins), purse.certain_bytes(coins)
    if sends_all and outputs:
        least_change = max(1, reserve - unspent)
        if total > fees.total + 1:
            check_reserve(total - fees.total - 1 + unspent, reserve)
        outputs = [replace(outputs[0], amount=total - fees.total - least_change)]
    change = total - sum(output.amount for output in outputs) - fees.total
    if change < 1 or any(output.amount < 1 for output in outputs):
        raise CompositionError("not_enough_funds", f"{total} bytes leave nothing beyond the fees of {fees.total}")
    check_reserve(change + unspent, reserve)
    return _BasePayment(coins, outputs, change, fees)


def _pay_assets(
    purse: Purse, payments: Sequence[Output], change_to: str, *, sends_all: bool
) -> tuple[list[dict[str, JsonValue]], list[Coin]]:
    """Return a payment message for every asset but bytes, and the coins they spend."""
    messages, spent = [], []
    for asset in dict.fromkeys(payment.asset for payment in payments if payment.asset != BASE):
        outputs = [payment for payment in payments if payment.asset == asset]
        if sends_all:
            chosen = purse.pick_all(asset)
            outputs = [replace(outputs[0], amount=sum(coin.amount for coin in chosen))]
        else:
            chosen = purse.pick_asset(asset, sum(output.amount for output in outputs))
        change = sum(coin.amount for coin in chosen) - sum(output.amount for output in outputs)
        if change:
            outputs.append(Output(change_to, change, asset))
        messages.append(_message("payment", _payment_payload(chosen, outputs, asset)))
        spent += chosen
    return messages, spent


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


def _payment_payload(coins: Sequence[Coin], outputs: Sequence[Output], asset: str) -> dict[str, JsonValue]:
    ordered = sorted(outputs, key=lambda output: (output.address, output.amount))
    payload: dict[str, JsonValue] = {
        "inputs": [input_of(coin) for coin in coins],
        "outputs": [{"address": output.address, "amount": output.amount} for output in ordered],
    }
    if asset != BASE:
        payload["asset"] = asset
    return payload


def _unpaid(outputs: Sequence[Output]) -> dict[str, JsonValue]:
    """Return the base payment without inputs, to know its size before coins are chosen."""
    message = {"app": "payment", "payload_location": "inline", "payload_hash": "-" * HASH_CHARACTERS}
    return {**message, "payload": _payment_payload((), outputs, BASE)}


def _message(app: str, payload: JsonValue) -> dict[str, JsonValue]:
    return {"app": app, "payload_location": "inline", "payload": payload, "payload_hash": units.payload_hash(payload)}


def _is_hash(value: JsonValue) -> bool:
    return isinstance(value, str) and is_valid_base64(value, HASH_CHARACTERS)


def _counter(answer: Mapping[str, JsonValue], name: str) -> int:
    value = answer.get(name)
    if type(value) is not int or value < 0:
        raise CompositionError("bad_parents", f"{name} must be an integer of at least 0")
    return value
