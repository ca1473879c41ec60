"""Opening a channel: ask the peer, check what it says, then publish the agent and the first deposit in one unit.

Until that unit is journaled nothing has happened but a question, and any failure leaves no money behind. From the
journal on, the channel exists and is funded with that unit and no other, however often the payer crashes. An answer
that comes after the question was given up is never read.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from shared.channels.model import MAX_AMOUNT, MIN_BASE_DEPOSIT, Channel
from shared.obyte.addresses import is_agent_definition
from shared.obyte.agents import AGENT_VERSIONS, MIN_AGENT_BYTES, channel_address, channel_definition
from shared.obyte.agents.published import published_versions
from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.coins import BASE
from shared.obyte.composing import HASH_CHARACTERS, Output, definition_message
from shared.peers.errors import PeerRefusedError, refusal
from shared.peers.versions import versions_left
from sluice.payer import store as payer_store
from sluice.payer.errors import ChannelOpeningError, LedgerError, PayerError, PeerUnreachableError
from sluice.payer.peers import base_url_of
from sluice.payer.posting import UnitOrder
from sluice.payer.store import StoredChannel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shared.agent.packages import ChannelTerms
    from shared.obyte.hub_requests import LightRequests
    from shared.obyte.serialization import JsonValue
    from sluice.payer.book import ChannelBook
    from sluice.payer.peers import PeerClient
    from sluice.payer.posting import UnitPoster
    from sluice.payer.store import JournalEntry, PayerStore

DEFAULT_TIMEOUT_S = 1_000
MAX_TIMEOUT_S = 2**31
SALT_BYTES = 25
MAX_SALT_CHARACTERS = 50
TAG_BYTES = 30


class ChannelOpener:
    """Opens the channels of one payer, one at a time."""

    def __init__(
        self,
        *,
        address: str,
        book: ChannelBook,
        store: PayerStore,
        peers: PeerClient,
        poster: UnitPoster,
        hub: Callable[[], Awaitable[LightRequests]],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`hub` gives the connection to the ledger, once there is one."""
        self._address = address
        self._book = book
        self._store = store
        self._peers = peers
        self._poster = poster
        self._hub = hub
        self._random_bytes = random_bytes
        self._lock = asyncio.Lock()

    async def open(
        self,
        url: str,
        deposit: int,
        *,
        asset: str,
        timeout_s: int,
        salt: str | None,
        versions: Sequence[str] = AGENT_VERSIONS,
        receiver: str | None = None,
    ) -> str:
        """Open a channel to the receiver at `url` and return its address.

        `versions` of the channels agent are offered in turn, as far as they are published on the network.

        `receiver`: the address the peer must receive at, when it is known.

        With the salt of a channel that is there already, that one is returned: call again after a crash or an error.

        Raises ChannelOpeningError, CompositionError (funds), LedgerError and HubError (before the deposit was
        journaled): then nothing was paid and nothing will be.
        """
        base_url = _base_url(url)
        _check_amount(deposit, asset)
        if type(timeout_s) is not int or not 1 <= timeout_s <= MAX_TIMEOUT_S:
            raise ChannelOpeningError("invalid_timeout", f"timeout_s must be an integer from 1 to {MAX_TIMEOUT_S}")
        if salt is not None and not 1 <= len(salt) <= MAX_SALT_CHARACTERS:
            raise ChannelOpeningError("invalid_salt", f"salt must have 1 to {MAX_SALT_CHARACTERS} characters")
        async with self._lock:
            known = next((item for item in self._book.all() if (item.peer_url, item.salt) == (base_url, salt)), None)
            if salt is not None and known is not None:
                if (known.state.asset, known.state.timeout_s) != (asset, timeout_s) or known.version not in versions:
                    raise ChannelOpeningError("salt_in_use", "this salt is that of a channel on other terms")
                if not await self._is_funded(known):
                    await self._fund(known, deposit)
                return known.state.aa_address
            hub = await self._hub()
            terms = asset, timeout_s, salt or self._random_bytes(SALT_BYTES).hex()
            channel = await self._agree(base_url, *terms, await published_versions(hub, versions))
            if receiver not in {None, channel.state.peer_address}:
                raise ChannelOpeningError("another_receiver", "the peer receives at another address than was expected")
            await self._check_peer(hub, channel.state.peer_address)
            await self._fund(channel, deposit)
            return channel.state.aa_address

    async def _agree(
        self, base_url: str, asset: str, timeout_s: int, salt: str, versions: Sequence[str]
    ) -> StoredChannel:
        """Offer one version after the other. Raises ChannelOpeningError."""
        left = tuple(versions)
        if not left:
            raise ChannelOpeningError("agent_not_published", "no channels agent to be offered is on this network")
        while True:
            version, left = left[0], left[1:]
            try:
                return await self._ask(base_url, asset, timeout_s, salt, version)
            except PeerRefusedError as refused:
                left = versions_left(refused, left)
                if not left:
                    text = f"the peer refuses the channel: {refused.text}"
                    raise ChannelOpeningError("peer_refused", text) from refused

    async def _ask(self, base_url: str, asset: str, timeout_s: int, salt: str, version: str) -> StoredChannel:
        """Offer one version. Raises ChannelOpeningError, and PeerRefusedError when the peer answers that it won't."""
        request = {
            "command": "create_channel",
            "params": {
                "address": self._address,
                "timeout": timeout_s,
                "asset": asset,
                "version": version,
                "salt": salt,
            },
            "tag": self._random_bytes(TAG_BYTES).hex(),
        }
        try:
            answer = await self._peers.ask(base_url, lambda: json.dumps(request).encode())
        except PeerUnreachableError as error:
            raise ChannelOpeningError("peer_unreachable", f"the peer cannot be asked: {error}") from error
        refused = refusal(answer)
        if refused is not None:
            raise refused
        told = answer.response if isinstance(answer.response, dict) else {}
        peer = told.get("address_a")
        if not isinstance(peer, str) or not is_valid_address(peer) or peer == self._address:
            raise ChannelOpeningError("invalid_peer_answer", "address_a must be a valid address and not our own")
        aa_address = channel_address(peer, self._address, asset, timeout_s, salt, version)
        if told.get("aa_address") != aa_address:
            raise ChannelOpeningError("invalid_peer_answer", "aa_address is not that of the channel asked for")
        state = Channel(aa_address, self._address, peer, asset, timeout_s, version=version)
        return StoredChannel(state, base_url, is_known_by_peer=True, salt=salt, version=version)

    async def _check_peer(self, hub: LightRequests, peer_address: str) -> None:
        """Refuse a peer that is an agent: with 1.1 it could refuse its payout, and nobody would ever get his money."""
        if is_agent_definition(await hub.get_definition(peer_address)):
            raise ChannelOpeningError("invalid_peer_answer", "address_a is the address of an agent")

    async def _fund(self, channel: StoredChannel, deposit: int) -> None:
        state = channel.state
        order = UnitOrder(
            purpose="open",
            aa_address=state.aa_address,
            period=1,
            payments=deposit_outputs(state.aa_address, deposit, state.asset),
            messages=[definition_message(state.aa_address, _definition(state.peer_address, channel.terms))],
            deposit=deposit,
            policy="all",
        )
        is_new = all(item.state.aa_address != state.aa_address for item in self._book.all())

        async def journal(entry: JournalEntry, now_s: float) -> None:
            await self._book.add(channel, entry, now_s)

        try:
            await self._poster.send(order, journal if is_new else None)
        except LedgerError as error:
            if error.code in {"unit_refused", "double_spend"}:
                raise ChannelOpeningError("funding_refused", f"the deposit was not taken: {error}") from error
            raise

    async def _is_funded(self, channel: StoredChannel) -> bool:
        """Whether a deposit of ours stands, or is on its way."""
        aa_address = channel.state.aa_address
        on_their_way = await self._store.run(lambda db: payer_store.units_on_their_way(db, aa_address))
        return channel.state.last_event_id > 0 or bool(on_their_way)


def deposit_outputs(aa_address: str, deposit: int, asset: str) -> list[Output]:
    """Return what a deposit pays to the agent: in another asset the agent's bytes go along."""
    if asset == BASE:
        return [Output(aa_address, deposit)]
    return [Output(aa_address, MIN_AGENT_BYTES), Output(aa_address, deposit, asset)]


def check_deposit(deposit: int, asset: str) -> None:
    """Check an amount to be deposited. Raises PayerError `invalid_deposit`."""
    least = MIN_BASE_DEPOSIT if asset == BASE else 1
    if type(deposit) is not int or not least <= deposit <= MAX_AMOUNT:
        raise PayerError("invalid_deposit", f"a deposit must be an integer from {least} to {MAX_AMOUNT}")


def _check_amount(deposit: int, asset: str) -> None:
    if asset != BASE and not is_valid_base64(asset, HASH_CHARACTERS):
        raise ChannelOpeningError("invalid_asset", 'asset must be "base" or the hash of a unit')
    try:
        check_deposit(deposit, asset)
    except PayerError as error:
        raise ChannelOpeningError(error.code, str(error)) from None


def _base_url(url: str) -> str:
    try:
        return base_url_of(url)
    except PayerError as error:
        raise ChannelOpeningError(error.code, str(error)) from None


def _definition(peer_address: str, terms: ChannelTerms) -> JsonValue:
    return channel_definition(
        peer_address, terms.payer_address, terms.asset, terms.timeout_s, terms.salt, terms.version
    )
