"""Which versions of the channels agent can be used: allowed by the settings, and published on this network.

What is published is asked of the hub (`shared.obyte.agents.published` says why its word is enough). A ledger forgets
nothing, so a version that was seen once is not asked for again, whatever a later hub says: no hub can push us back to
1.1, whose peers can rob us. That 1.1 itself is there is taken for granted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.agents import AGENT_VERSIONS
from shared.obyte.agents.published import published_versions
from shared.obyte.errors import HubError
from shared.peers.versions import versions_to_offer
from shared.store import instance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.guard import Guard
    from worker.hub_session import HubSession

logger = get_logger(__name__)

LOOK_S = 30.0
CONNECT_S = 0.2


class AgentVersions:
    """The agents of one term of the lease. `allowed`: the preferred version first; `look_s`: how often to ask."""

    def __init__(self, guard: Guard, session: HubSession, allowed: Sequence[str], *, look_s: float = LOOK_S) -> None:
        self._guard = guard
        self._session = session
        self._allowed = tuple(allowed)
        self._look_s = look_s
        self._published: frozenset[str] = frozenset()

    def to_offer(self, wanted: str | None = None) -> tuple[str, ...]:
        """Return the versions to offer for a new channel, the best one first; or the wanted one, if it is published."""
        return versions_to_offer(wanted, self._allowed, self._published)

    async def load(self) -> None:
        """Read what earlier terms have seen. Raises StoreError."""
        async with self._guard.reading() as conn:
            here = await instance.read(conn)
        self._published = frozenset(() if here is None else here.agent_versions)

    async def run(self) -> None:
        """Ask for what is missing, again and again, until nothing is. Raises StoreError."""
        while missing := [version for version in AGENT_VERSIONS if version not in self._published]:
            pause_s = self._look_s
            found: tuple[str, ...] = ()
            try:
                found = await published_versions(self._session.client, missing)
            except HubError:  # the session sees to it
                pause_s = min(self._look_s, CONNECT_S)
            if found:
                async with self._guard.transaction() as conn:
                    await instance.note_published(conn, found)
                self._published |= frozenset(found)
                logger.info("agents_published", versions=list(found), usable=list(self.to_offer()))
            await asyncio.sleep(pause_s)
