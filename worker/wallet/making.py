"""Making units: where they attach, which coins they spend, what they cost. Nothing is stored or sent here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.obyte.addresses import is_agent_definition
from shared.obyte.coins import BASE
from shared.obyte.composing import Joint, compose
from shared.obyte.errors import CompositionError, FeeTooHighError, HubError, ObyteError
from shared.obyte.selection import Fees
from shared.store.alarms import AlarmKind
from worker.errors import PostingError
from worker.wallet.spending import Spending, policies

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from shared.obyte.coins import Coin, CoinSet, Outpoint, Policy
    from shared.obyte.composing import Parents
    from shared.obyte.hub_client import HubClient
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from worker.alarms import Alarms
    from worker.hub_session import HubSession
    from worker.wallet.orders import UnitOrder

_TYPICAL = Fees(headers=400, payload=400, oversize=0, tps=0)
"""Of a unit for a channel."""
MOST_AA_RESPONSES = 10
_TRY_ON = frozenset({"not_enough_funds", "reserve_needed"})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What one attempt at an order has to heed."""

    is_disclosed: bool = False
    """The ledger has our definition, whatever we have seen of it."""
    without: frozenset[str] = frozenset()
    """Units of ours to be taken as if they did not exist: they are in doubt and must not hold this one up."""
    contested: frozenset[Outpoint] = frozenset()
    """What earlier units for the same purpose spend: see `compose`."""


class Maker:
    """Makes and signs the units of one address."""

    def __init__(
        self,
        session: HubSession,
        key: KeyPair,
        network: Network,
        coins: CoinSet,
        spending: Spending,
        alarms: Alarms,
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._key = key
        self._network = network
        self._coins = coins
        self._spending = spending
        self._alarms = alarms
        self._clock = clock
        self._asked: HubClient | None = None
        self._last_ball_mci = 0
        self._too_expensive: UnitOrder | None = None
        self.disputed: set[str] = set()
        """Unstable units of ours that lost to others so far: nothing is built on them."""

    async def make(self, client: HubClient, order: UnitOrder, now: Circumstances) -> Joint:
        """Make a unit. Raises PostingError with the composer's or the hub's code, `payee_is_agent`, `peer_is_agent`."""
        try:
            parents = await self._ask_parents(client, order)
            if order.refuses_agents:
                await self._refuse_agents(client, order, parents)
            if order.peer is not None and is_agent_definition(await client.get_definition(order.peer)):
                raise PostingError("peer_is_agent", f"the peer {order.peer} is an autonomous agent")
            joint = self._compose(order, parents, now)
        except FeeTooHighError as error:
            self._fee_is_high(order, error)
            raise PostingError(error.code, str(error)) from error
        except ObyteError as error:  # whatever is wrong with one unit, others can be made
            raise PostingError(error.code, str(error)) from error
        try:
            self._spending.usual_fee_limit.check(joint.fees)
        except FeeTooHighError as error:
            self._fee_is_high(order, error)  # paid all the same
        else:
            self._alarms.clear(AlarmKind.FEE_HIGH)
            self._too_expensive = None
        return joint

    async def look_at_fees(self, client: HubClient) -> None:
        """See whether what was too expensive has become cheaper. Raises PostingError."""
        order = self._too_expensive
        if order is None:
            self._alarms.clear(AlarmKind.FEE_HIGH)
            return
        try:
            parents = await self._ask_parents(client, order)
            self._spending.usual_fee_limit.check(replace(_TYPICAL, tps=parents.tps_fee))
        except FeeTooHighError as error:
            self._fee_is_high(order, error)
        except (CompositionError, HubError) as error:
            raise PostingError(error.code, str(error)) from error
        else:
            self._alarms.clear(AlarmKind.FEE_HIGH)
            self._too_expensive = None

    async def _ask_parents(self, client: HubClient, order: UnitOrder) -> Parents:
        payees = {payment.address for payment in order.payments} | {self._key.address}
        if client is not self._asked:
            # What another hub has said of its last ball is no reason to disbelieve this one.
            self._asked, self._last_ball_mci = client, 0
        parents = await client.get_parents(
            witnesses=self._session.op_list,
            from_addresses=[self._key.address],
            output_addresses=sorted(payees),
            now_s=self._clock(),
            # A unit that names no number is charged for the most there can be; a hub that is told none charges nothing.
            max_aa_responses=MOST_AA_RESPONSES if order.max_aa_responses is None else order.max_aa_responses,
            last_seen_mci=self._last_ball_mci,
        )
        self._last_ball_mci = parents.last_ball_mci
        return parents

    async def _refuse_agents(self, client: HubClient, order: UnitOrder, parents: Parents) -> None:
        is_agent = parents.count_primary_aa_triggers > 0
        for address in {payment.address for payment in order.payments} - {self._key.address}:
            is_agent = is_agent or is_agent_definition(await client.get_definition(address))
        if is_agent:
            raise PostingError("payee_is_agent", "the payee is an autonomous agent: it may keep what it is sent")

    def _compose(self, order: UnitOrder, parents: Parents, now: Circumstances) -> Joint:
        """Try the surest coins first. Raises CompositionError, as of the last attempt."""
        for policy in policies(order):
            try:
                return self._compose_of(self._purse(order, parents, policy, now), order, parents, now)
            except CompositionError as error:
                if error.code not in _TRY_ON:
                    raise
                reason = error
        raise reason

    def _compose_of(self, coins: Collection[Coin], order: UnitOrder, parents: Parents, now: Circumstances) -> Joint:
        is_disclosed = now.is_disclosed or self._coins.definition_disclosed(self._key.address, parents.last_ball_mci)
        return compose(
            network=self._network,
            key=self._key,
            coins=coins,
            parents=parents,
            payments=order.payments,
            messages=order.messages,
            include_definition=not is_disclosed,
            max_aa_responses=order.max_aa_responses,
            threshold_size=self._session.threshold_size(parents.last_ball_mci),
            fee_limit=self._spending.fee_limit_of(order),
            reserve=self._spending.reserve_of(order),
            contested=now.contested,
            sends_all=order.sends_all,
        )

    def _purse(self, order: UnitOrder, parents: Parents, policy: Policy, now: Circumstances) -> list[Coin]:
        paid_in = order.payments[0].asset if order.payments else BASE
        return [
            coin
            for coin in self._coins.purse(
                (payment.asset for payment in order.payments),
                policy,
                network=self._network,
                last_ball_mci=parents.last_ball_mci,
                now_s=self._clock(),
                without=now.without,
            )
            if coin.unit not in self.disputed
            and (order.only is None or coin.asset != paid_in or coin.outpoint in order.only)
        ]

    def _fee_is_high(self, order: UnitOrder, error: FeeTooHighError) -> None:
        self._too_expensive = order
        self._alarms.raise_(AlarmKind.FEE_HIGH, fee=error.quoted, limit=error.allowed)
