"""On which terms a peer may open a channel with us, and its row.

Asking for a channel costs the asker nothing and makes the worker watch one address more: channels that never saw a
deposit are limited, per peer and in total.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from shared.bus import CHANNEL_CHANGED
from shared.obyte.agents import AGENT_VERSIONS
from shared.obyte.errors import NetworkError
from shared.obyte.networks import network_named
from shared.receiving.channel_parameters import ChannelParameters, address_of
from shared.receiving.errors import ChannelRefused, NotInitializedError, UnavailableError, database_errors
from shared.store import channels, instance
from shared.store.channel_rows import NewChannel
from shared.store.channels import Insertion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.bus import Bus
    from shared.obyte.networks import Network
    from shared.receiving.limits import PaymentLimits
    from shared.settings import Settings
    from shared.store.database import Database

TURN_S = 5.0
"""How long an opening waits for those before it in this process; a peer hangs up after ten seconds."""


@dataclass(frozen=True, slots=True)
class OpeningLimits:
    """Which channels we take: of which agent, with which timeout, and how many may wait for their first deposit."""

    min_timeout_s: int
    max_timeout_s: int
    max_unfunded_per_peer: int
    max_unfunded: int
    agent_versions: tuple[str, ...] = AGENT_VERSIONS
    """The preferred one first. Of these, only the published ones are taken."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read them from the settings."""
        return cls(
            settings.min_channel_timeout_s,
            settings.max_channel_timeout_s,
            settings.max_unfunded_channels_per_peer,
            settings.max_unfunded_channels,
            settings.agent_versions,
        )


def check_terms(parameters: ChannelParameters, own_address: str, limits: OpeningLimits) -> None:
    """Check what depends on us: the timeout's bounds, a known agent version, another address. Raises ChannelRefused."""
    if parameters.timeout_s < limits.min_timeout_s:
        raise ChannelRefused(
            "timeout_too_low", f"Channel timeout is too low, min acceptable: {limits.min_timeout_s} seconds"
        )
    if parameters.timeout_s > limits.max_timeout_s:
        raise ChannelRefused(
            "timeout_too_high", f"Channel timeout is too high, max acceptable: {limits.max_timeout_s} seconds"
        )
    if parameters.address == own_address:
        raise ChannelRefused("own_address", "address is mine")


class Openings:
    """Opens channels that peers ask for. We are always the agent's A: the party that was asked."""

    def __init__(
        self,
        database: Database,
        network: Network,
        limits: OpeningLimits,
        bus: Bus,
        origins: PaymentLimits | None = None,
    ) -> None:
        """`origins`: how many channels one place may ask for."""
        self._database = database
        self._network = network
        self._limits = limits
        self._bus = bus
        self._origins = origins
        self._own_address: str | None = None
        self._turn = asyncio.Lock()

    async def own_address(self) -> str:
        """Return the address we receive at; it never changes. Raises NotInitializedError, UnavailableError."""
        if self._own_address is None:
            with database_errors():
                async with self._database.connection() as conn:
                    found = await instance.read(conn)
            if found is None or not is_on(found.network, self._network):
                raise NotInitializedError
            self._own_address = found.own_address
        return self._own_address

    async def open(self, parameters: ChannelParameters, peer_url: str | None = None, origin: str | None = None) -> str:
        """Make sure that the channel is known and watched, and return its address; asking again changes nothing.

        `peer_url` is kept, and nobody is ever contacted there because of it. `origin`: the network address that it is
        asked for from. Raises ChannelRefused, NotInitializedError, LimitedError or UnavailableError.
        """
        own_address = await self.own_address()
        check_terms(parameters, own_address, self._limits)
        await self._check_version(parameters, own_address)
        new = NewChannel(
            aa_address=address_of(parameters, own_address),
            own_address=own_address,
            peer_address=parameters.address,
            asset=parameters.asset,
            timeout_s=parameters.timeout_s,
            salt=parameters.salt,
            version=parameters.version,
            role="A",
            peer_url=peer_url,
        )
        with database_errors():
            async with self._one_at_a_time(), self._database.transaction() as conn:
                if origin is not None and self._origins is not None and not self._origins.may_open(origin):
                    found = (await channels.find(conn, [new.aa_address])).get(new.aa_address)
                    if found is None or found.expired_at is not None:
                        raise self._origins.too_many_openings(origin)
                insertion = await channels.insert(
                    conn,
                    new,
                    max_unopened_of_peer=self._limits.max_unfunded_per_peer,
                    max_unopened=self._limits.max_unfunded,
                )
        if insertion is Insertion.CONFLICT:
            raise ChannelRefused("salt_exists", "this salt already exists")
        if insertion is Insertion.BLOCKED:
            raise ChannelRefused(
                "peer_blocked", f"no channels of version {new.version} are opened with this address: one was robbed"
            )
        if insertion is Insertion.TOO_MANY:
            raise ChannelRefused("too_many_channels", "too many channels wait for their first deposit")
        if insertion in (Insertion.CREATED, Insertion.REVIVED):
            if self._origins is not None:
                self._origins.opened(origin)
            self._bus.publish(CHANNEL_CHANGED, {"aa_address": new.aa_address})
        return new.aa_address

    async def revive(self, aa_address: str, origin: str | None = None) -> None:
        """Watch a channel again that was given up, unless too many wait for a deposit. Raises UnavailableError.

        It counts for its `origin` as a new one does; from where there were too many nothing comes back.
        """
        if self._origins is not None and not self._origins.may_open(origin):
            return
        with database_errors():
            async with self._one_at_a_time(), self._database.transaction() as conn:
                revived = await channels.revive(conn, [aa_address], max_unopened=self._limits.max_unfunded)
        for address in revived:
            if self._origins is not None:
                self._origins.opened(origin)
            self._bus.publish(CHANNEL_CHANGED, {"aa_address": address})

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        """Let one opening of this process wait in the database, where they follow each other anyway.

        Many at once would take all connections, and payments would wait for channels. Raises UnavailableError.
        """
        try:
            async with asyncio.timeout(TURN_S):
                await self._turn.acquire()
        except TimeoutError:
            raise UnavailableError("overloaded", "too many channels are being opened") from None
        try:
            yield
        finally:
            self._turn.release()

    async def _check_version(self, parameters: ChannelParameters, own_address: str) -> None:
        """Check that a new channel may have this version of the agent; channels that exist go on. Raises as `open`."""
        with database_errors():
            async with self._database.connection() as conn:
                here = await instance.read(conn)
                if here is None:
                    raise NotInitializedError
                taken = tuple(version for version in self._limits.agent_versions if version in here.agent_versions)
                if parameters.version in taken:
                    return
                address = address_of(parameters, own_address)
                if address in await channels.find(conn, [address]):
                    return
        text = f"Unsupported AA version; supported: {', '.join(taken) or 'none'}"
        raise ChannelRefused("unsupported_agent_version", text, taken)


def is_on(name: str, network: Network) -> bool:
    """Whether a network's name in the database means this network."""
    try:
        return network_named(name).name == network.name
    except NetworkError:
        return False
