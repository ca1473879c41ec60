"""Which base agents are on the ledger (Obyte, light client requests).

A hub's word: what a definition says is checked by its hash, that it is on the ledger is not proven, and hubs tell of
definitions that are not stable yet. No money hangs on it. A channel of an agent that is not there cannot be funded,
because the network refuses the unit that would do it; a hub that denies an agent only makes peers agree on another
version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte.agents.base import AGENT_VERSIONS, CHANNELS_BASE_AA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.obyte.hub_requests import LightRequests


async def published_versions(hub: LightRequests, versions: Iterable[str] = AGENT_VERSIONS) -> tuple[str, ...]:
    """Return those of `versions` whose base agent the hub knows, in the order given. Raises HubError."""
    return tuple([version for version in versions if await hub.get_definition(CHANNELS_BASE_AA[version]) is not None])
