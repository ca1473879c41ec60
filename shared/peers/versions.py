"""Which version of the channels agent to agree on with a peer (Obyte channels, peer protocol: `create_channel`).

Versions are offered one after the other, the best one first. A peer that does not take one says so in words (the
JavaScript library), or with a code and the list of those that it takes (Sluice); any other refusal ends the asking.
A peer that cannot be asked is not offered anything: he gets a channel of the version that everybody knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shared.peers.errors import PeerRefusedError

KNOWN_TO_ALL = "1.1"
"""The version that every implementation understands."""
_CODES = frozenset({"unknown_agent_version", "unsupported_agent_version"})
_TEXTS = ("Unknown AA version", "Unsupported AA version")


def versions_to_offer(wanted: str | None, allowed: Sequence[str], published: Collection[str]) -> tuple[str, ...]:
    """Return what to offer, the best one first: the wanted version alone, or those of `allowed`; only published ones.

    Empty when there is nothing to offer: a channel of an agent that is not on the ledger cannot be funded.
    """
    candidates = allowed if wanted is None else (wanted,)
    return tuple(version for version in candidates if version in published)


def version_unasked(offered: Sequence[str]) -> str:
    """Return the version for a peer that cannot be asked which ones it knows, out of those that could be offered."""
    return KNOWN_TO_ALL if KNOWN_TO_ALL in offered else offered[0]


def versions_left(refused: PeerRefusedError, left: Sequence[str]) -> tuple[str, ...]:
    """Return what to offer after a refusal, of those not offered yet; nothing when it was not about the version."""
    if refused.code not in _CODES and not refused.text.startswith(_TEXTS):
        return ()
    if refused.agent_versions is None:
        return tuple(left)
    return tuple(version for version in left if version in refused.agent_versions)
