"""Looking at the ledger through another hub than the one in use: what one hides, or cannot know, another one tells.

every `second_s`              all channels are read through the next hub of the list that answers
it has told something new     the hub in use is asked for that too, again and again: it may only lag
not known after `lag_s`       the hub in use is cut off from the ledger, or hides a part of it: it is left for the other
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from shared.logs import get_logger
from shared.obyte.errors import HistoryProofError, HubError
from worker.errors import WithholdingHubError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from shared.obyte.hub_client import HubClient
    from worker.hub_choice import HubChoice
    from worker.proving import Prover

logger = get_logger(__name__)

HubFailure: TypeAlias = HubError | HistoryProofError | WithholdingHubError
"""What ends a connection: another hub may do better."""
_MAX_ASKED = 100
"""Units in one question; those after them are asked for in the next round."""


@dataclass(slots=True)
class _News:
    """Units that another hub has proven, as long as the hub in use does not tell of them."""

    hub: str
    since_s: float
    units: set[str] = field(default_factory=set)


class SecondLook:
    """Looks for one term of the lease. `on_failure` is told which hub failed and how; `monotonic` gives seconds."""

    def __init__(
        self,
        choice: HubChoice,
        make_client: Callable[[str], HubClient],
        prover: Prover,
        *,
        on_failure: Callable[[str, HubFailure], None],
        monotonic: Callable[[], float],
        second_s: float,
        lag_s: float,
    ) -> None:
        self._choice = choice
        self._make_client = make_client
        self._prover = prover
        self._on_failure = on_failure
        self._monotonic = monotonic
        self._second_s = second_s
        self._lag_s = lag_s
        self._due_s = monotonic() + second_s
        self._turn = 0
        self._news: _News | None = None

    def start_over(self) -> None:
        """Another hub is in use: what the last one did not know proves nothing against it."""
        self._news = None

    async def look(self, client: HubClient, work: Callable[[HubClient], Awaitable[Collection[str]]]) -> None:
        """Let `work` have a connection to another hub now and then; it returns the units that were news to us.

        What goes wrong there is no fault of the hub in use, and the next other hub is asked instead. Raises HubError,
        HistoryProofError, WithholdingHubError when the hub in use fails, or does not know what the other has proven;
        and what else `work` raises.
        """
        await self._compare(client)
        if self._monotonic() < self._due_s:
            return
        self._due_s = self._monotonic() + self._second_s
        others = self._choice.others(client.url)
        first = self._turn % max(len(others), 1)
        # Those set aside too, at last: what they tell is proven, and without them the hub in use could hide anything.
        for other in others[first:] + others[:first] + self._choice.set_aside(client.url):
            self._turn += 1
            if await self._ask(other, work):
                return

    async def _ask(self, hub: str, work: Callable[[HubClient], Awaitable[Collection[str]]]) -> bool:
        """Return whether this hub could be asked."""
        other = self._make_client(hub)
        try:
            await other.connect()
            units = set(await work(other))
        except (HubError, HistoryProofError, WithholdingHubError) as error:
            self._on_failure(hub, error)
            return False
        finally:
            await other.close()
        if units:
            logger.info("news_from_other_hub", hub=hub, units=len(units))
            since_s = self._monotonic() if self._news is None else self._news.since_s
            still_open = set() if self._news is None else self._news.units
            self._news = _News(hub, since_s, units | still_open)
            self._choice.try_first(hub)
        return True

    async def _compare(self, client: HubClient) -> None:
        """Ask the hub in use for what another one has proven."""
        news = self._news
        if news is None:
            return
        history = await self._prover.history(client, asked=sorted(news.units)[:_MAX_ASKED])
        news.units.difference_update(unit.unit_hash for unit in history.units if unit.is_stable)
        if not news.units:
            self._news = None
            self._choice.try_first(None)
        elif self._monotonic() >= news.since_s + self._lag_s:
            raise self._prover.missing(client.url, f"{min(news.units)}, which {news.hub} has proven")
