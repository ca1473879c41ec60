"""One channel and what a proven answer says about it: believe, apply, tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from shared.agent.errors import UnreadableResponseError
from shared.agent.triggers import read_peer_trigger
from shared.channels.errors import EventGapError
from shared.channels.ledger import Closed, Closing
from shared.logs import get_logger
from shared.store import channels, robberies
from shared.store.errors import DatabaseRestoredError, DatabaseUnavailableError, LeaseLostError, StoreError
from worker.applying import Applied, apply_news, may_be_robbed
from worker.errors import WithholdingHubError
from worker.metrics import ROBBERIES
from worker.news import News, read_news

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.agent.responses import Response
    from shared.channels.model import Channel
    from shared.obyte.history import ProvenHistory, ProvenUnit
    from shared.obyte.hub_client import HubClient
    from shared.store.journal import Entry
    from worker.definitions import AuthorChecks
    from worker.guard import Guard
    from worker.rollback import Rollback
    from worker.wallet import Wallet

logger = get_logger(__name__)


class Outcome(Enum):
    """What has become of an answer."""

    APPLIED = auto()
    """The channel is as the answer says."""
    READ_WHOLE = auto()
    """Something is missing before it: the channel has to be read from its beginning."""
    BROKEN = auto()
    """What the ledger says cannot follow from what the database says. A person has to look at it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub said about one channel."""

    units: tuple[ProvenUnit, ...] = field(repr=False)
    """Those that touch the channel's agent."""
    history: ProvenHistory = field(repr=False)
    asked: frozenset[str]
    """Units to the channel, ours and the peer's, that were asked for by their hash."""
    ours: tuple[Entry, ...] = ()
    """Our units to this channel whose fate was open when the hub was asked."""


class ChannelReader:
    """Applies answers to channels. `on_change` is told of every channel that has changed."""

    def __init__(
        self,
        guard: Guard,
        wallet: Wallet,
        authors: AuthorChecks,
        rollback: Rollback,
        on_change: Callable[[str], None],
    ) -> None:
        self._guard = guard
        self._wallet = wallet
        self._authors = authors
        self._rollback = rollback
        self._on_change = on_change

    async def read(self, client: HubClient, channel: Channel, answer: Answer, *, is_whole: bool) -> Outcome:
        """Apply an answer. What is wrong with one channel's data never stops the others: it is logged.

        `is_whole`: the answer reaches back as far as answers can. Raises WithholdingHubError when such an answer has a
        gap, HubError, and StoreError when the database or the lease is gone.
        """
        try:
            news = read_news(channel, answer.units, answer.history)
            if not _says_anything(channel, news, answer):
                return Outcome.APPLIED
            applied = await self._apply(client, channel, news, answer)
        except (DatabaseUnavailableError, LeaseLostError, DatabaseRestoredError):
            raise
        except (UnreadableResponseError, StoreError) as error:
            logger.exception("channel_not_readable", aa_address=channel.aa_address, code=error.code)
            return Outcome.BROKEN
        if applied.obstacle is None:
            return Outcome.APPLIED
        if not is_whole:
            logger.info("channel_read_again", aa_address=channel.aa_address, reason=str(applied.obstacle))
            return Outcome.READ_WHOLE
        if isinstance(applied.obstacle, EventGapError):
            raise WithholdingHubError(f"events of {channel.aa_address} are missing: {applied.obstacle}")
        logger.error("channel_contradicts_ledger", aa_address=channel.aa_address, reason=str(applied.obstacle))
        return Outcome.BROKEN

    async def _apply(self, client: HubClient, channel: Channel, news: News, answer: Answer) -> Applied:
        genuine = {
            unit.unit_hash
            for unit in news.unstable
            if read_peer_trigger(unit.unit, channel) and await self._authors.is_genuine(unit.unit, client)
        }
        async with self._guard.transaction() as conn:
            if may_be_robbed(channel, news.responses):
                await robberies.lock_peer(conn, channel.peer_address)
            locked = await channels.lock_one(conn, channel.aa_address)
            if locked is None:
                return Applied(channel)
            applied = await apply_news(conn, locked, news, ours=answer.ours, asked=answer.asked, verified=genuine)
        self._tell(applied)
        if (promise := applied.unknown_promise) is not None:
            await self._rollback.doubt_promise(
                channel.aa_address, promise.timestamp_s, signed=promise.spent_by_me, known=locked.spent_by_me
            )
        return applied

    def _tell(self, applied: Applied) -> None:
        aa_address = applied.channel.aa_address
        for response in applied.responses:
            logger.info("ledger_event", aa_address=aa_address, unit=response.unit, **_facts(response))
        for robbery in applied.robberies:
            ROBBERIES.inc()
            logger.error("channel_robbed", **asdict(robbery))
        for unit, reason in applied.bounced.items():
            logger.warning("trigger_bounced", aa_address=aa_address, unit=unit, reason=reason)
        for unit in applied.void:
            logger.warning("unit_void", aa_address=aa_address, unit=unit)
            self._wallet.void(unit)
        if applied.has_changed:
            self._on_change(aa_address)


def _says_anything(channel: Channel, news: News, answer: Answer) -> bool:
    """Whether the answer can change anything: most answers repeat the last event of a channel and nothing else."""
    has_new_events = any(response.event.event_id > channel.last_event_id for response in news.responses)
    return bool(has_new_events or news.unstable or answer.asked)


def _facts(response: Response) -> dict[str, int | str | bool]:
    event = response.event
    facts: dict[str, int | str | bool] = {"kind": type(event).__name__.lower(), "event_id": event.event_id}
    if isinstance(event, Closing):
        facts |= {"by_me": event.by_me, "period": event.period}
    elif isinstance(event, Closed):
        facts |= {"received": event.received, "period": event.period, "by_fraud_proof": event.by_fraud_proof}
    return facts
