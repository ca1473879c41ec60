"""The units the ledger writes itself: the order provider's, the faucet's, and assets for tests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from devnet.base_agent import reference_agent_message
from devnet.parents import ParentsOffer, offer_parents
from shared.obyte.agents import publication_message
from shared.obyte.coins import BASE, Coin
from shared.obyte.composing import Output, Parents, compose
from shared.obyte.selection import FeeLimit
from shared.obyte.units import MAX_AMOUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from devnet.dag import UnitRecord
    from devnet.state import LedgerState
    from shared.obyte.keys import KeyPair
    from shared.obyte.serialization import JsonValue

_MS = 1_000


class Posting(Protocol):
    """What the treasury needs of the ledger it writes to."""

    @property
    def state(self) -> LedgerState:
        """Everything the ledger knows."""

    def now_s(self) -> float:
        """Return the ledger's time."""

    def post_own(self, joint: JsonValue) -> UnitRecord:
        """Take a unit of the ledger's own keys."""

    def settle(self) -> None:
        """Make stable and provable all that was posted."""


class Treasury:
    """The faucet: it owns everything that nobody was given yet."""

    def __init__(self, ledger: Posting, key: KeyPair) -> None:
        self._ledger = ledger
        self._key = key

    @property
    def address(self) -> str:
        """Where the faucet keeps its money."""
        return self._key.address

    def fund(self, address: str, amount: int, asset: str = BASE) -> UnitRecord:
        """Send money from the faucet. Raises `CompositionError` (`bad_output`, `not_enough_funds`)."""
        return self._send([Output(address, amount, asset)])

    def issue(self, cap: int = MAX_AMOUNT) -> str:
        """Make a new asset, all of it in the faucet, and return its id. The ledger moves on until it is usable."""
        definition: dict[str, JsonValue] = {
            "cap": cap,
            "is_private": False,
            "is_transferrable": True,
            "auto_destroy": False,
            "fixed_denominations": False,
            "issued_by_definer_only": True,
            "cosigned_by_definer": False,
            "spender_attested": False,
        }
        asset = self._send([], [{"app": "asset", "payload": definition}]).hash
        self._ledger.settle()
        self._issue_all(asset, cap)
        return asset

    def publish(self, version: str) -> UnitRecord:
        """Publish one of our own channels agents, as a wallet does. Raises `AddressError` for others."""
        return self._send([], [publication_message(version)])

    def publish_reference_agent(self) -> UnitRecord:
        """Publish the channels agent 1.1, once: the ledger begins with it."""
        return self._send([], [reference_agent_message()])

    def provider_unit(self, provider: KeyPair, offer: ParentsOffer) -> JsonValue:
        """Compose the order provider's next unit: it pays itself and tells the time, as providers do."""
        now_ms = math.floor(self._ledger.now_s() * _MS)
        feed: dict[str, JsonValue] = {"app": "data_feed", "payload": {"timestamp": now_ms}}
        return self._compose(provider, offer, [], [feed])

    def _issue_all(self, asset: str, cap: int) -> None:
        coin: JsonValue = {"type": "issue", "amount": cap, "serial_number": 1}
        output: JsonValue = {"address": self.address, "amount": cap}
        payment: dict[str, JsonValue] = {"asset": asset, "inputs": [coin], "outputs": [output]}
        self._send([], [{"app": "payment", "payload": payment}])

    def _send(self, payments: Sequence[Output], messages: Sequence[Mapping[str, JsonValue]] = ()) -> UnitRecord:
        paid = [payment.address for payment in payments]
        offer = offer_parents(self._ledger.state, self._ledger.now_s(), [self.address], [self.address, *paid])
        return self._ledger.post_own(self._compose(self._key, offer, payments, messages))

    def _compose(
        self,
        key: KeyPair,
        offer: ParentsOffer,
        payments: Sequence[Output],
        messages: Sequence[Mapping[str, JsonValue]],
    ) -> JsonValue:
        state = self._ledger.state
        last_ball_mci = offer.last_ball.mci or 0
        joint = compose(
            network=state.network,
            key=key,
            coins=self._coins(key.address),
            parents=Parents(
                offer.timestamp_s,
                offer.parents,
                str(offer.last_ball.ball),
                offer.last_ball.hash,
                last_ball_mci,
                offer.tps_fee,
                offer.triggered_agents,
            ),
            payments=payments,
            messages=messages,
            include_definition=state.definition_before(key.address, last_ball_mci) is None,
            threshold_size=state.votes.at(last_ball_mci).threshold_size,
            fee_limit=FeeLimit(math.inf),
        )
        return joint.as_json()

    def _coins(self, address: str) -> Iterable[Coin]:
        state = self._ledger.state
        for output in state.outputs.unspent(address):
            record = state.dag.records[output.outpoint.unit]
            place = output.outpoint
            yield Coin(
                place.unit,
                place.message_index,
                place.output_index,
                address,
                output.asset,
                output.amount,
                record.is_stable,
                record.mci,
            )
