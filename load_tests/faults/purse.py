"""A payer's money on the local ledger: units composed and posted through the hub, as wallets do, remembered by nobody.

The hub is our own local ledger's, so what it says is taken as it is.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.obyte.coins import BASE, Coin
from shared.obyte.composing import Output, compose
from shared.obyte.hub_errors import JointRefusedError
from shared.obyte.networks import DEVNET
from shared.obyte.selection import FeeLimit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.obyte.composing import Joint
    from shared.obyte.hub_client import HubClient
    from shared.obyte.keys import KeyPair

FUNDS = 10**11
_ATTEMPTS = 10
_EXTRA_FEE = 1_000


class Purse:
    """The coins of one address, each unit spending the change of the one before."""

    def __init__(self, hub: HubClient, witnesses: Sequence[str], key: KeyPair) -> None:
        self._hub, self._witnesses, self._key = hub, witnesses, key
        self._coins: list[Coin] = []
        self._lock = asyncio.Lock()
        self.is_disclosed = False
        """Whether a stable unit has shown the key: until then each unit shows it."""

    async def fill(self, amount: int = FUNDS) -> None:
        """Take bytes from the faucet."""
        answer: Any = await self._hub.request("devnet/fund", {"address": self._key.address, "amount": amount})
        unit = await self._hub.get_joint(answer["unit"])
        if unit is None:
            raise RuntimeError("the faucet's unit is not on the ledger")
        self._coins = self._own_outputs(unit, answer["unit"])

    async def post(
        self, payments: Sequence[Output], messages: Sequence[Mapping[str, Any]] = (), *, responses: int | None = None
    ) -> str:
        """Compose a unit and post it; return its hash. Raises JointRefusedError when the ledger never takes it."""
        async with self._lock:
            for attempt in range(_ATTEMPTS):
                joint = await self._compose(payments, messages, responses, extra=attempt * _EXTRA_FEE)
                try:
                    await self._hub.post_joint(joint.as_json())
                except JointRefusedError as error:
                    if error.kind != "recompose" or attempt + 1 == _ATTEMPTS:
                        raise
                    self.is_disclosed = self.is_disclosed or error.is_for_known_definition
                    continue
                self._coins = self._own_outputs(joint.unit, joint.unit_hash)
                return joint.unit_hash
        raise AssertionError  # the last attempt has raised

    async def _compose(
        self, payments: Sequence[Output], messages: Sequence[Mapping[str, Any]], responses: int | None, *, extra: int
    ) -> Joint:
        own = self._key.address
        parents = await self._hub.get_parents(
            witnesses=self._witnesses,
            from_addresses=[own],
            output_addresses=sorted({own, *(payment.address for payment in payments)}),
            max_aa_responses=responses,
            now_s=time.time(),
        )
        return compose(
            network=DEVNET,
            key=self._key,
            coins=self._coins,
            # The fee that is asked for grows with the traffic between the question and the posting.
            parents=replace(parents, tps_fee=parents.tps_fee + extra),
            payments=payments,
            messages=messages,
            include_definition=not self.is_disclosed,
            max_aa_responses=responses,
            fee_limit=FeeLimit(math.inf),
        )

    def _own_outputs(self, unit: Mapping[str, Any], unit_hash: str) -> list[Coin]:
        return [
            Coin(unit_hash, message_index, output_index, self._key.address, BASE, output["amount"], is_stable=False)
            for message_index, message in enumerate(unit["messages"])
            if message["app"] == "payment" and "asset" not in message["payload"]
            for output_index, output in enumerate(message["payload"]["outputs"])
            if output["address"] == self._key.address
        ]
