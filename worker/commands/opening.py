"""`open`: agree on a channel with a peer, then publish its agent and our first deposit in one unit.

    progress   salt, timeout ─▶ asked ─▶ the agreed channel ─▶ journal: the row, the deposit, the unit ─▶ posted

Until the unit is journaled nothing has happened but a question, which may be asked again: with the same salt it is the
same channel. From the journal on the channel exists and is funded with that unit and no other. An answer that comes
after the question was given up is never read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.channels.depositing import check_amount
from shared.channels.model import Channel
from shared.channels.refilling import AutoRefill
from shared.logs import get_logger
from shared.obyte.agents import CHANNELS_BASE_AA, channel_address, channel_definition
from shared.obyte.chash import is_valid_address
from shared.obyte.composing import definition_message
from shared.orders import Open
from shared.peers.errors import PeerError, PeerRefusedError, UnansweredError
from shared.peers.versions import version_unasked, versions_left
from shared.store import channels, commands, contacts, deposits, refills
from shared.store.channel_rows import NewChannel
from shared.store.channels import Insertion
from worker.commands.kinds import Done, Kind, Lane, RefusedError
from worker.commands.ordered_units import reference_of
from worker.depositing import deposit_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.store.commands import Command
    from shared.store.database import Connection
    from worker.commands.ordered_units import OrderedUnits
    from worker.depositing import Depositing
    from worker.guard import Guard
    from worker.peers.peers import Peers
    from worker.wallet import UnitOrder

logger = get_logger(__name__)

SALT_BYTES = 25
PATIENCE_S = 30.0
"""How long an answer is waited for, over several questions."""


@dataclass(frozen=True, slots=True)
class OpeningRules:
    """Who we are, and what is chosen for an order that leaves it open.

    `versions`: of the agent, that can be offered when this one or none in particular is wanted, the best one first.
    """

    own_address: str
    versions: Callable[[str | None], Sequence[str]]
    timeout_s: int
    random_bytes: Callable[[int], bytes]


class OpenKind(Kind[Open]):
    """Opens channels in which we are the agent's B: the party that asked."""

    order = Open
    lane = Lane.PEER

    def __init__(
        self,
        guard: Guard,
        units: OrderedUnits,
        depositing: Depositing,
        peers: Peers,
        rules: OpeningRules,
        *,
        monotonic: Callable[[], float],
    ) -> None:
        self._guard = guard
        self._units = units
        self._depositing = depositing
        self._peers = peers
        self._rules = rules
        self._monotonic = monotonic
        self._give_up_at_s: dict[int, float] = {}

    async def start(self, conn: Connection, command: Command, order: Open) -> Mapping[str, Any]:  # noqa: ARG002
        """Refuse what cannot be opened with anybody, and choose the salt."""
        check_amount(order.initial_amount, order.asset)
        if order.auto_refill is not None:
            check_amount(order.auto_refill.amount, order.asset)
        if order.version is not None and order.version not in CHANNELS_BASE_AA:
            raise RefusedError("unknown_agent_version", f"no channels agent of version {order.version} is known")
        if order.peer == self._rules.own_address:
            raise RefusedError("own_address", "the peer is this wallet itself")
        if not is_valid_address(order.peer):
            self._check_contact(order.peer)
        progress = {
            "salt": order.salt or self._rules.random_bytes(SALT_BYTES).hex(),
            "timeout": order.timeout or self._rules.timeout_s,
        }
        # The version with the least risk decides: the agreed one is looked at again before anything is paid.
        hoped_for = self._channel(order, progress, peer_address=order.peer, version=self._first_version(order))
        await self._depositing.check_exposure(conn, hoped_for, order.initial_amount)
        return progress

    async def follow(self, command: Command, order: Open) -> Done | None:
        """Ask the peer, then make the unit."""
        progress = command.progress or {}
        if "aa_address" not in progress:
            # This worker may have agreed a moment ago, the command in hand is as it was when it was taken on.
            async with self._guard.reading() as conn:
                known = await commands.get(conn, command.id)
            progress = (known.progress if known else None) or progress
        if "aa_address" not in progress:
            agreed = await self._agree(command, order, progress)
            if agreed is None:
                return None
            progress = {**progress, **agreed}
            async with self._guard.transaction() as conn:
                await commands.save_progress(conn, command.id, self._guard.lease, progress)
            logger.info("channel_agreed", command=command.id, aa_address=progress["aa_address"])
        unit = await self._units.follow(command, self._unit_order(command, order, progress))
        if unit is None:
            return None
        told = ("aa_address", "peer_address", "version", "salt", "timeout")
        return Done({"unit": unit, **{name: progress[name] for name in told}})

    def _versions(self, order: Open) -> Sequence[str]:
        versions = self._rules.versions(order.version)
        if not versions:
            raise RefusedError("agent_not_published", "no channels agent that could be offered is on this network")
        return versions

    def _first_version(self, order: Open) -> str:
        versions = self._versions(order)
        return version_unasked(versions) if is_valid_address(order.peer) else versions[0]

    def _check_contact(self, peer: str) -> None:
        try:
            self._peers.to(peer)
        except PeerError as error:
            raise RefusedError(error.code, error.text) from error

    # ----------------------------------------------------------------------------------------------- the agreement

    async def _agree(self, command: Command, order: Open, progress: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what was agreed on, None when it is to be asked again soon. Raises RefusedError."""
        if is_valid_address(order.peer):
            # Nobody is asked: the owner of the address learns of the channel from our first package, and an owner who
            # does not know the version refuses it when our deposit is in the channel already.
            return self._agreed(order, progress, order.peer, self._first_version(order))
        way = self._peers.to(order.peer)
        try:
            left = self._versions(order)
            while True:
                version, left = left[0], left[1:]
                try:
                    answer = await way.request("create_channel", self._terms(order, progress, version))
                except PeerRefusedError as error:
                    left = versions_left(error, left)
                    if left:
                        continue
                    raise RefusedError("peer_refused", f"the peer refuses the channel: {error.text}") from error
                self._give_up_at_s.pop(command.id, None)
                return self._read_answer(order, progress, version, answer) | {"url": way.url, "device": way.device}
        except UnansweredError as error:
            give_up_at_s = self._give_up_at_s.setdefault(command.id, self._monotonic() + PATIENCE_S)
            if self._monotonic() < give_up_at_s:
                return None
            del self._give_up_at_s[command.id]
            raise RefusedError(error.code, f"the peer cannot be asked: {error.text}") from error

    def _terms(self, order: Open, progress: Mapping[str, Any], version: str) -> dict[str, Any]:
        return {
            "address": self._rules.own_address,
            "timeout": progress["timeout"],
            "asset": order.asset,
            "version": version,
            "salt": progress["salt"],
        }

    def _read_answer(
        self, order: Open, progress: Mapping[str, Any], version: str, answer: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Check what the peer says the channel is. Raises RefusedError `invalid_peer_answer`."""
        told = answer.get("response")
        told = told if isinstance(told, dict) else {}
        peer = told.get("address_a")
        if not isinstance(peer, str) or not is_valid_address(peer) or peer == self._rules.own_address:
            raise RefusedError("invalid_peer_answer", "address_a must be a valid address and not our own")
        agreed = self._agreed(order, progress, peer, version)
        if told.get("aa_address") != agreed["aa_address"]:
            raise RefusedError("invalid_peer_answer", "aa_address is not that of the channel asked for")
        return agreed

    def _agreed(self, order: Open, progress: Mapping[str, Any], peer_address: str, version: str) -> dict[str, Any]:
        channel = self._channel(order, progress, peer_address=peer_address, version=version)
        return {"aa_address": channel.aa_address, "peer_address": peer_address, "version": version}

    def _channel(self, order: Open, progress: Mapping[str, Any], *, peer_address: str, version: str) -> Channel:
        own, timeout_s = self._rules.own_address, progress["timeout"]
        return Channel(
            aa_address=channel_address(peer_address, own, order.asset, timeout_s, progress["salt"], version),
            own_address=own,
            peer_address=peer_address,
            asset=order.asset,
            timeout_s=timeout_s,
            version=version,
        )

    # ---------------------------------------------------------------------------------------------------- the unit

    def _unit_order(self, command: Command, order: Open, progress: Mapping[str, Any]) -> UnitOrder:
        peer_address, version = progress["peer_address"], progress["version"]
        channel = self._channel(order, progress, peer_address=peer_address, version=version)
        definition = channel_definition(
            peer_address, channel.own_address, channel.asset, channel.timeout_s, progress["salt"], version
        )

        async def record_channel(conn: Connection) -> bool:
            await self._record_channel(conn, channel, order, progress)
            return True

        unit = deposit_unit(channel, order.initial_amount, reference=reference_of(command), is_wanted=record_channel)
        # An agent as the other party could refuse its payout, and with 1.1 nobody would ever get his money.
        return replace(unit, messages=(definition_message(channel.aa_address, definition),), peer=peer_address)

    async def _record_channel(
        self, conn: Connection, channel: Channel, order: Open, progress: Mapping[str, Any]
    ) -> None:
        """Insert the channel in the transaction that journals its unit. Raises RefusedError, ExposureError."""
        new = NewChannel(
            aa_address=channel.aa_address,
            own_address=channel.own_address,
            peer_address=channel.peer_address,
            asset=channel.asset,
            timeout_s=channel.timeout_s,
            salt=progress["salt"],
            version=channel.version,
            role="B",
            peer_url=progress.get("url"),
        )
        inserted = await channels.insert(conn, new)
        if inserted is Insertion.BLOCKED:
            raise RefusedError("peer_blocked", "this peer has robbed us: look at it, then `sluice channels forgive`")
        if inserted is Insertion.CONFLICT:
            raise RefusedError("salt_in_use", "a channel with this peer has this salt, on other terms")
        known = await channels.lock_one(conn, channel.aa_address)
        pending = await deposits.pending_amount(conn, channel.aa_address)
        if known is None or known.last_event_id or pending:
            raise RefusedError("channel_exists", "the channel is there and has a deposit already")
        await self._depositing.check_exposure(conn, channel, order.initial_amount)
        if progress.get("device") is not None:
            await contacts.note_device(conn, channel.aa_address, progress["device"])
        if order.auto_refill is not None:
            refill = AutoRefill(threshold=order.auto_refill.threshold, amount=order.auto_refill.amount)
            await refills.switch(conn, channel.aa_address, refill)
