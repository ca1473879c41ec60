"""Which hosts we connect to when a stranger has named them: none that only we, from where we stand, can reach.

The name is resolved once, what it says is checked, and the connection is made to the address that was checked: a name
that says something else a moment later leads nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.webhooks.addresses import is_public
from worker.errors import WorkerError

if TYPE_CHECKING:
    from shared.webhooks.addresses import Resolve


class ForbiddenAddressError(WorkerError):
    """A host that a stranger has named is not to be connected to: it does not exist, or it is not public."""

    code = "forbidden_address"


async def public_address(host: str, resolve: Resolve) -> str:
    """Return an address of a host to connect to. Raises ForbiddenAddressError if any of its addresses is not public."""
    try:
        addresses = await resolve(host)
    except (OSError, UnicodeError) as error:
        raise ForbiddenAddressError(f"the host {host} is not known") from error
    if not addresses or not all(map(is_public, addresses)):
        raise ForbiddenAddressError(f"the host {host} has no public address")
    return addresses[0]
