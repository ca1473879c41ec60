"""Who really signed an unstable unit: a hub could invent deposits that nobody made."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from shared.agent.responses import objects
from shared.logs import get_logger
from shared.obyte.errors import ObyteError
from shared.obyte.hub_errors import HubAnswerError, HubRequestError
from shared.obyte.units import verify_author_signatures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.obyte.hub_client import HubClient
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

logger = get_logger(__name__)

MAX_KNOWN = 10_000


class AuthorChecks:
    """Remembers definitions of addresses and units that were found genuine; both are bounded.

    An address is the hash of its first definition, so a definition that hashes to it is right, whoever told it. An
    address whose definition was changed later cannot be checked: its units count when they are stable, not before.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._definitions: OrderedDict[str, JsonValue] = OrderedDict()
        self._genuine: OrderedDict[str, None] = OrderedDict()

    async def is_genuine(self, unit: Mapping[str, JsonValue], client: HubClient) -> bool:
        """Whether all authors signed the unit. Asks the hub for definitions that are missing.

        Raises HubTimeoutError, HubClosedError.
        """
        unit_hash = str(unit["unit"])
        if unit_hash in self._genuine:
            return True
        for author in objects(unit.get("authors")):
            address = str(author.get("address"))
            if "definition" not in author and address not in self._definitions:
                await self._ask_for(address, client)
        try:
            verify_author_signatures(unit, self._definitions, self._network)
        except ObyteError as error:
            logger.warning("unit_not_genuine", unit=unit_hash, code=error.code)
            return False
        _remember(self._genuine, unit_hash, None)
        return True

    async def _ask_for(self, address: str, client: HubClient) -> None:
        try:
            definition = await client.get_definition(address)
        except (HubAnswerError, HubRequestError) as error:
            logger.warning("definition_not_told", address=address, code=error.code, reason=str(error))
            return
        if definition is not None:
            _remember(self._definitions, address, definition)


def _remember(known: OrderedDict[str, Any], key: str, value: Any) -> None:
    known[key] = value
    if len(known) > MAX_KNOWN:
        known.popitem(last=False)
