"""The worker's standing connection to the ledger: one hub after the other, for as long as the lease is held.

    connect ── order providers, system variables, time ── follow ── it fails ─▶ the next hub at once
       ▲                                                     │       all failed ─▶ a pause, growing, with jitter
       └── a preferred hub is back: the watcher lets go at the end of its round

A hub that lies or withholds is named in an alarm and comes last for a while. What is trusted instead of hubs is kept
apart from them: the pinned order providers and the ledger's time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.errors import HistoryProofError, HubError
from shared.obyte.hub_errors import HubAnswerError, HubClosedError, HubRequestError
from shared.obyte.ledger_clock import AHEAD_S, TOLERANCE_S
from shared.obyte.system_variables import INITIAL_THRESHOLD_SIZE, SystemVariables, read_system_variables
from shared.store.alarms import AlarmKind
from worker.errors import WithholdingHubError
from worker.second_look import SecondLook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from shared.obyte.hub_client import HubClient
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue
    from worker.alarms import Alarms
    from worker.hub_choice import HubChoice
    from worker.pacing import Backoff
    from worker.proving import Prover
    from worker.second_look import HubFailure
    from worker.session_pace import SessionPace

logger = get_logger(__name__)

_UNUSABLE = frozenset({"upgrade_required", "wrong_network", "bad_version", "insecure_url", "hub_behind", "clock_ahead"})
"""The next connection to such a hub will hardly be better than this one."""


class HubSession:
    """One connection after the other. `make_client` makes one to a hub's URL; `monotonic` gives seconds."""

    def __init__(
        self,
        choice: HubChoice,
        make_client: Callable[[str], HubClient],
        prover: Prover,
        alarms: Alarms,
        *,
        own_address: str,
        backoff: Backoff,
        monotonic: Callable[[], float],
        pace: SessionPace,
    ) -> None:
        self._choice = choice
        self._make_client = make_client
        self.prover = prover
        self._alarms = alarms
        self._own_address = own_address
        self._backoff = backoff
        self._monotonic = monotonic
        self._pace = pace
        self._client: HubClient | None = None
        self._better: HubClient | None = None
        self._variables: SystemVariables | None = None
        self._in_step_at_s = monotonic()
        self._compare_due_s = 0.0
        self._told_offsets_s: dict[str, float] = {}
        self._second_look = SecondLook(
            choice,
            make_client,
            prover,
            on_failure=self._failed,
            monotonic=monotonic,
            second_s=pace.second_s,
            lag_s=pace.lag_s,
        )
        self._providers = prover.providers

    @property
    def order_providers(self) -> tuple[str, ...]:
        """The pinned list, by which proofs are checked. Raises HubClosedError before the first connection ever."""
        return self._providers.pinned

    @property
    def network(self) -> Network:
        """The network with as many order providers as are pinned."""
        return self._providers.network

    @property
    def op_list(self) -> tuple[str, ...]:
        """The order providers in force as the hub tells them, for requests about new units; else the pinned ones."""
        return self.order_providers if self._variables is None else self._variables.order_providers()

    @property
    def system_variables(self) -> SystemVariables | None:
        """What the network has voted on as the hub tells it, None before the first connection of this term."""
        return self._variables

    def threshold_size(self, mci: int | None = None) -> int:
        """Return the size in bytes above which a unit on the last ball with this index pays the oversize fee."""
        return INITIAL_THRESHOLD_SIZE if self._variables is None else self._variables.threshold_size(mci)

    def now_s(self) -> float:
        """Return the time on the ledger: our own clock's, corrected where it is known to be wrong."""
        return self.prover.clock.now_s()

    @property
    def client(self) -> HubClient:
        """The connection, once the ledger was read through it. Raises HubClosedError `not_connected` until then."""
        if self._client is None or not self._client.is_open:
            raise HubClosedError("not_connected", "not in step with the ledger: there is no connection to the hub")
        return self._client

    def in_step(self, client: HubClient) -> None:
        """Note that the ledger was read through this connection: it may be used to post units.

        Raises HubClosedError `better_hub` when a preferred hub is waiting to be used instead.
        """
        if self._client is not client:
            logger.info("hub_in_step", hub=client.url)
            self._alarms.clear(AlarmKind.HUB_LIES, client.url)
        self._client = client
        self._in_step_at_s = self._monotonic()
        self._alarms.clear(AlarmKind.HUB_AWAY)
        self._backoff.reset()
        self._choice.works()
        if self._better is not None:
            raise HubClosedError("better_hub", f"{self._better.url} is back, which is preferred")

    def told_system_variables(self, hub: str, body: JsonValue) -> None:
        """Note what a hub says unasked. Raises HubAnswerError."""
        self._learn_variables(hub, read_system_variables(body))

    async def run(self, follow: Callable[[HubClient], Awaitable[None]]) -> None:
        """Connect and let `follow` live on the connection until it raises a hub's error; then again, forever.

        Raises whatever else `follow` raises.
        """
        self._forget_other_hubs()
        try:
            while True:
                client = self._better or self._next_client()
                self._better = None
                if client is None:
                    pause_s = self._backoff.pause_s()
                    logger.warning("hubs_all_failed", retry_in_s=round(pause_s, 2))
                    await asyncio.sleep(pause_s)
                else:
                    await self._live_on(client, follow)
        finally:
            if self._better is not None:
                await self._better.close()

    async def _live_on(self, client: HubClient, follow: Callable[[HubClient], Awaitable[None]]) -> None:
        self._second_look.start_over()
        searching = asyncio.create_task(self._look_for_better(client.url), name="hub-search")
        try:
            if not client.is_open:
                await client.connect()
            await self._greet(client)
            logger.info("hub_connected", hub=client.url)
            await follow(client)
        except (HubError, HistoryProofError, WithholdingHubError) as error:
            self._failed(client.url, error)
        finally:
            self._client = None
            searching.cancel()
            await asyncio.gather(searching, return_exceptions=True)
            await client.close()

    async def compare(self, client: HubClient) -> None:
        """Compare clocks and order providers with the hub's now and then. Raises HubError."""
        if self._monotonic() >= self._compare_due_s:
            await self._ask_about_network(client)

    async def ask_another(self, client: HubClient, work: Callable[[HubClient], Awaitable[Collection[str]]]) -> None:
        """Let `work` look through another hub now and then, and leave this one if it lacks what that proves.

        Raises what `SecondLook.look` raises.
        """
        await self._second_look.look(client, work)

    async def watch_silence(self) -> None:
        """Raise the alarm when nothing was in step with the ledger for too long. Runs forever."""
        while True:
            silent_s = self._monotonic() - self._in_step_at_s
            if silent_s >= self._pace.away_s:
                self._alarms.raise_(AlarmKind.HUB_AWAY, hubs=",".join(self._choice.urls))
            await asyncio.sleep(max(self._pace.away_s - silent_s, self._pace.away_s / 4))

    def _next_client(self) -> HubClient | None:
        url = self._choice.next()
        return None if url is None else self._make_client(url)

    def _failed(self, url: str, error: HubFailure) -> None:
        if error.code == "better_hub":
            logger.info("hub_left", hub=url, reason=str(error))
            return
        is_lie = isinstance(error, HistoryProofError | WithholdingHubError | HubAnswerError)
        logger.warning("hub_lost", hub=url, code=error.code, reason=str(error))
        if is_lie:
            self._alarms.raise_(AlarmKind.HUB_LIES, url, reason=error.code, detail=str(error))
        if error.code == "upgrade_required":
            self._alarms.raise_(AlarmKind.HUB_UPGRADE_REQUIRED, url)
        self._choice.failed(url, set_aside_s=self._pace.set_aside_s if is_lie or error.code in _UNUSABLE else 0.0)

    async def _greet(self, client: HubClient) -> None:
        """Ask what has to be known of a hub before its histories are.

        Raises HubError, HistoryProofError, WithholdingHubError, StoreError.
        """
        self._alarms.clear(AlarmKind.HUB_UPGRADE_REQUIRED, client.url)
        self.prover.another_hub(client.url)
        self.prover.renew(await self._providers.read())
        named = await client.get_witnesses()
        self._providers.check_count(named)
        if self._providers.is_pinned:
            self._providers.compare(named, client.url)
        else:
            others = {url: said for url in self._choice.urls if url != client.url and (said := await self._ask(url))}
            await self._providers.trust_first(named, client.url, others)
        await self._ask_about_network(client)

    async def _ask(self, url: str) -> tuple[str, ...]:
        """Return the order providers that another hub names, none if it cannot be asked."""
        client = self._make_client(url)
        try:
            await client.connect()
            return await client.get_witnesses()
        except HubError as error:
            logger.warning("hub_not_asked", hub=url, code=error.code, reason=str(error))
            return ()
        finally:
            await client.close()

    async def _ask_about_network(self, client: HubClient) -> None:
        self._compare_due_s = self._monotonic() + self._pace.compare_s
        self._learn_variables(client.url, await client.get_system_variables())
        try:
            time_s, last_ball_unit = await client.get_time(witnesses=self.op_list, address=self._own_address)
        except HubRequestError as error:
            # It is the hub's word, and no more: without it our own clock is believed.
            logger.warning("ledger_time_not_told", hub=client.url, code=error.code, reason=str(error))
            return
        # Whatever there is to tell about us: a hub that is alive can prove its newest stable unit, and when that was.
        history = await self.prover.history(client, asked=[last_ball_unit], is_for_time=True)
        if not history.units:
            raise WithholdingHubError("the hub does not tell of the last ball that it offers")
        self._judge_clock(client.url, time_s)
        self.prover.clock.told(time_s)

    def _judge_clock(self, hub: str, time_s: float) -> None:
        """Raise HubAnswerError, HubClosedError when the hub's clock is wrong and there is another hub.

        Units made by a clock that is late would be older than those they build on; by one that is ahead, too young for
        others. That it is ahead, and not ours late, is certain only as long as no other hub has said the same.
        """
        said_by_others = [offset_s for other, offset_s in self._told_offsets_s.items() if other != hub]
        offset_s = self._told_offsets_s[hub] = time_s - self._monotonic()
        if not self._choice.others(hub):
            return
        proven_s = self.prover.clock.proven_s()
        if proven_s is not None and time_s < proven_s - TOLERANCE_S:
            raise HubAnswerError("light/get_parents", f"its clock is {proven_s - time_s:.0f} s behind the ledger")
        ahead_s = time_s - self.prover.clock.now_s()
        if ahead_s > AHEAD_S and not any(abs(other_s - offset_s) <= AHEAD_S for other_s in said_by_others):
            raise HubClosedError("clock_ahead", f"its clock is {ahead_s:.0f} s ahead")

    def _forget_other_hubs(self) -> None:
        """Take down alarms about hubs that are no longer in the settings."""
        for kind in (AlarmKind.HUB_LIES, AlarmKind.HUB_UPGRADE_REQUIRED, AlarmKind.ORDER_PROVIDERS_DIFFER):
            for subject in self._alarms.subjects(kind):
                if subject.startswith("ws") and subject.partition(" ")[0] not in self._choice.urls:
                    self._alarms.clear(kind, subject)

    def _learn_variables(self, hub: str, variables: SystemVariables) -> None:
        self._variables = variables
        self._providers.compare(variables.order_providers(), f"{hub} (votes)")

    async def _look_for_better(self, url: str) -> None:
        """Connect to a hub that is preferred to this one as soon as there is one."""
        while self._better is None and self._choice.urls[0] != url:
            await asyncio.sleep(self._pace.prefer_s)
            for other in self._choice.better_than(url):
                client = self._make_client(other)
                try:
                    await client.connect()
                    await client.get_system_variables()
                    self._better = client
                    break
                except HubError as error:
                    logger.info("hub_not_back", hub=other, code=error.code)
                finally:
                    if self._better is not client:
                        await client.close()
