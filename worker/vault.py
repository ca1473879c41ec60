"""Everything that one term of the lease runs: built when the lease is acquired, gone when it ends."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.agent.packages import PaymentSigner
from shared.bus import CHANNEL_CHANGED, EVENT
from shared.channels.exposure import ANY_ASSET, BASE
from shared.obyte.agents import AGENT_VERSIONS
from shared.obyte.hub_client import HubClient
from shared.store import instance
from shared.store.errors import InstanceMismatchError
from shared.store.mark import Mark
from worker.agent_versions import LOOK_S, AgentVersions
from worker.alarms import Alarms
from worker.archiving import Archiving, Keeping
from worker.channel_reader import ChannelReader
from worker.closing_watch import ClosingLimits, ClosingWatch
from worker.commands import CommandPace, Commands, OpeningRules, Tools, all_kinds
from worker.cross_checks import CrossCheckPace, CrossChecks
from worker.crowding import Crowding, CrowdingPace
from worker.definitions import AuthorChecks
from worker.depositing import Depositing
from worker.devices.messenger import Messenger
from worker.errors import ConfigurationError
from worker.exposure import Exposure, ExposurePace
from worker.forgetting import Forgetting, Retention
from worker.giving_up import GivingUp, Patience
from worker.hub_choice import HubChoice
from worker.hub_session import HubSession
from worker.ledger_clock import LedgerClock
from worker.order_providers import OrderProviders
from worker.pacing import Backoff
from worker.payment_requests import RequestPace, RequestTelling
from worker.peers.peers import Peers
from worker.proving import Prover
from worker.reading import LedgerReader
from worker.refilling import Refilling, RefillPace
from worker.rollback import Rollback, RollbackPace
from worker.session_pace import SessionPace
from worker.settlement import Settlement, SettlementPace
from worker.stand_by_pace import StandByPace
from worker.wallet import Spending, Wallet
from worker.watcher import Watcher, WatcherPace
from worker.webhooks.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.bus import Bus
    from shared.channels.exposure import ExposureRules
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from worker.devices.messenger import Device
    from worker.guard import Guard
    from worker.webhooks.terms import WebhookTerms


@dataclass(frozen=True, slots=True)
class Pace:
    """Every interval of the vault in one place, in seconds; tests make them short."""

    watcher: WatcherPace = field(default_factory=WatcherPace)
    settlement: SettlementPace = field(default_factory=SettlementPace)
    rollback: RollbackPace = field(default_factory=RollbackPace)
    exposure: ExposurePace = field(default_factory=ExposurePace)
    commands: CommandPace = field(default_factory=CommandPace)
    refilling: RefillPace = field(default_factory=RefillPace)
    hub: SessionPace = field(default_factory=SessionPace)
    cross_checks: CrossCheckPace = field(default_factory=CrossCheckPace)
    agents_s: float = LOOK_S
    crowding: CrowdingPace = field(default_factory=CrowdingPace)
    requests: RequestPace = field(default_factory=RequestPace)
    stand_by: StandByPace = field(default_factory=StandByPace)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What does not change with the lease: who we are, where the hub is, what time it is."""

    key: KeyPair
    network: Network
    network_name: str
    """As the settings name it."""
    hub_url: str
    """Where the hub is; several are separated by commas, the preferred one first."""
    bus: Bus
    exposure: ExposureRules
    order_providers: tuple[str, ...] = ()
    """Those that are trusted by a person's word; without it those of the first hub that was ever asked."""
    agent_versions: tuple[str, ...] = AGENT_VERSIONS
    """Versions of the channels agent that new channels may have, the preferred one first."""
    channel_timeout_s: int = 1_000
    """Timeout of channels that we open, where an order names none."""
    device: Device | None = None
    """Who we are to peers that write messages; None to exchange none."""
    webhooks: WebhookTerms | None = None
    """How webhooks are sent; None to send none."""
    mark: Mark = field(default_factory=Mark)
    """Of the database, kept outside of it."""
    pace: Pace = field(default_factory=Pace)
    spending: Spending = field(default_factory=Spending)
    closing: ClosingLimits = field(default_factory=ClosingLimits)
    retention: Retention = field(default_factory=Retention)
    keeping: Keeping = field(default_factory=Keeping)
    patience: Patience = field(default_factory=Patience)
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    random_bytes: Callable[[int], bytes] = secrets.token_bytes


class Vault:
    """The wallet, the watcher, settlement and commands of one term."""

    def __init__(self, guard: Guard, given: Circumstances) -> None:
        self._guard = guard
        self._given = given
        pace = given.pace
        self.settled = asyncio.Event()
        """Set when the last step was finished: what is left then is saying goodbye to hubs, which may take its time."""
        self.alarms = Alarms(guard, self._told)
        self._rollback = Rollback(guard, self.alarms, given.key.address, pace.rollback)
        self._prover = Prover(
            OrderProviders(guard, given.network, self.alarms, given.order_providers),
            LedgerClock(given.clock, given.monotonic, self.alarms),
            slack_s=pace.hub.slack_s,
        )
        self._session = HubSession(
            HubChoice(given.hub_url.split(","), given.monotonic),
            self._make_client,
            self._prover,
            self.alarms,
            own_address=given.key.address,
            backoff=Backoff(pace.hub.retry_first_s, pace.hub.retry_longest_s, given.jitter),
            monotonic=given.monotonic,
            pace=pace.hub,
        )
        now_s = self._session.now_s
        self.wallet = Wallet(
            guard,
            self._session,
            given.key,
            given.network,
            now_s,
            self.alarms,
            spending=given.spending,
            assets=sorted(given.exposure.by_asset.keys() - {BASE, ANY_ASSET}),
        )
        self._cross_checks = CrossChecks(guard, self.alarms, given.monotonic, pace.cross_checks)
        self._agents = AgentVersions(guard, self._session, given.agent_versions, look_s=pace.agents_s)
        self._messenger = self._make_messenger()
        self._peers = Peers(self._messenger, clock=given.clock, random_bytes=given.random_bytes)
        self._commands = Commands(
            guard, given.bus, all_kinds(self._tools()), self._channel_changed, poll_s=pace.commands.poll_s
        )
        self._settlement = Settlement(
            guard,
            self._session,
            self.wallet,
            ClosingWatch(self.alarms, given.closing, given.monotonic),
            on_posted=self._commands.wake,
            clock=now_s,
            monotonic=given.monotonic,
            jitter=given.jitter,
            pace=pace.settlement,
        )
        self._crowding = Crowding(
            guard,
            self._session,
            self.alarms,
            on_order=self._commands.wake,
            monotonic=given.monotonic,
            pace=pace.crowding,
        )
        self._refilling = Refilling(
            guard,
            self.wallet,
            Depositing(given.exposure),
            monotonic=given.monotonic,
            jitter=given.jitter,
            pace=pace.refilling,
            on_refilled=self._told,
        )
        self._requests = RequestTelling(guard, given.bus, pace.requests)
        self._exposure = Exposure(
            guard,
            self.alarms,
            given.exposure,
            on_order=self._commands.wake,
            monotonic=given.monotonic,
            pace=pace.exposure,
        )
        channel_reader = ChannelReader(
            guard, self.wallet, AuthorChecks(given.network), self._rollback, self._channel_changed
        )
        self._watcher = Watcher(
            guard,
            self._session,
            LedgerReader(guard, self._prover, self.wallet, channel_reader, self._rollback, self.alarms),
            self._cross_checks,
            self.wallet,
            given.bus,
            on_change=self._channel_changed,
            pace=pace.watcher,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; settlement and commands finish the step in hand.

        Raises ConfigurationError when the database belongs to somebody else, StoreError when it or the lease is gone.
        """
        await self._declare()
        await self._rollback.begin()
        await self.alarms.load()
        await self._prover.load()
        await self.wallet.load()
        await self._agents.load()
        async with self._peers, asyncio.TaskGroup() as tasks:
            endless = [
                tasks.create_task(self._session.run(self._watcher.follow), name="vault-hub"),
                tasks.create_task(self._session.watch_silence(), name="vault-silence"),
                tasks.create_task(self._watcher.hear_of_new_channels(), name="vault-new-channels"),
                tasks.create_task(self._commands.hear(), name="vault-doorbell"),
                tasks.create_task(self.alarms.run(), name="vault-alarms"),
                tasks.create_task(self._exposure.run(), name="vault-exposure"),
                tasks.create_task(self._agents.run(), name="vault-agents"),
                tasks.create_task(self._crowding.run(), name="vault-crowding"),
                tasks.create_task(self.wallet.keep_house(), name="vault-housekeeping"),
                tasks.create_task(Forgetting(self._guard, self._given.retention).run(), name="vault-forgetting"),
                tasks.create_task(Archiving(self._guard, self._given.keeping).run(), name="vault-archiving"),
                tasks.create_task(
                    GivingUp(self._guard, self._watcher, self._given.patience).run(), name="vault-giving-up"
                ),
                tasks.create_task(self._requests.run(), name="vault-requests"),
            ]
            if self._messenger is not None:
                endless.append(tasks.create_task(self._messenger.run(), name="vault-messenger"))
            if (webhooks := self._make_webhooks()) is not None:
                endless.append(tasks.create_task(webhooks.run(), name="vault-webhooks"))
            working = [
                tasks.create_task(self._settlement.run(stopping), name="vault-settlement"),
                tasks.create_task(self._commands.run(stopping), name="vault-commands"),
                tasks.create_task(self._refilling.run(stopping), name="vault-refilling"),
                tasks.create_task(self._rollback.run(stopping), name="vault-rollback"),
            ]
            await asyncio.wait(working)
            for task in endless:
                task.cancel()
            self.settled.set()

    def wake(self) -> None:
        """Do what there is to do now."""
        self._commands.wake()
        self._settlement.wake()
        self._refilling.wake()
        self._rollback.wake()

    def _tools(self) -> Tools:
        given = self._given
        return Tools(
            guard=self._guard,
            wallet=self.wallet,
            peers=self._peers,
            signer=PaymentSigner(given.key, given.network),
            depositing=Depositing(given.exposure),
            opening=OpeningRules(given.key.address, self._agents.to_offer, given.channel_timeout_s, given.random_bytes),
            monotonic=given.monotonic,
            jitter=given.jitter,
            pace=given.pace.commands,
        )

    def _make_messenger(self) -> Messenger | None:
        given = self._given
        if given.device is None:
            return None
        return Messenger(
            self._guard.lease,
            given.device,
            given.network,
            given.bus,
            clock=given.clock,
            monotonic=given.monotonic,
            jitter=given.jitter,
            random_bytes=given.random_bytes,
        )

    def _make_webhooks(self) -> Webhooks | None:
        given = self._given
        if given.webhooks is None:
            return None
        return Webhooks(
            self._guard.lease,
            given.webhooks,
            given.bus,
            self.alarms,
            clock=given.clock,
            monotonic=given.monotonic,
            jitter=given.jitter,
        )

    async def _declare(self) -> None:
        try:
            async with self._guard.transaction() as conn:
                await instance.declare(conn, network=self._given.network_name, own_address=self.wallet.address)
        except InstanceMismatchError as error:
            raise ConfigurationError("another_wallet", str(error)) from error

    def _channel_changed(self, aa_address: str) -> None:
        self._given.bus.publish(CHANNEL_CHANGED, {"aa_address": aa_address})
        self._settlement.look_at(aa_address)
        self._refilling.look_at(aa_address)
        self._crowding.look_at(aa_address)
        self._cross_checks.ask_for(aa_address)
        self._commands.wake(aa_address)

    def _told(self) -> None:
        self._given.bus.publish(EVENT, {})

    def _make_client(self, url: str) -> HubClient:
        return HubClient(url, self._given.network, request_timeout_s=self._given.pace.hub.answer_s)
