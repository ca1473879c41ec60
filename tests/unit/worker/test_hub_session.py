from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.errors import HistoryProofError
from shared.obyte.hub_errors import HubClosedError
from shared.obyte.networks import DEVNET
from worker.hub_session import HubSession
from worker.pacing import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

PROVIDER, OTHER = "P" * 32, "Q" * 32


class Client:
    """A hub connection as far as the session looks at it."""

    url = "ws://hub"

    def __init__(self, providers: tuple[str, ...] = (PROVIDER,), *, refuses: bool = False) -> None:
        self.providers = providers
        self.refuses = refuses
        self.is_open = False

    async def connect(self) -> None:
        if self.refuses:
            raise HubClosedError("unreachable", "nobody there")
        self.is_open = True

    async def get_witnesses(self) -> tuple[str, ...]:
        return self.providers

    async def close(self) -> None:
        self.is_open = False


def session_of(clients: Iterable[Client]) -> HubSession:
    waiting = iter(clients)
    make: Any = lambda: next(waiting)  # noqa: E731
    return HubSession(make, DEVNET, Backoff(0, 0, jitter=lambda: 0))


class Enough(Exception):  # noqa: N818 - the end of a test, not an error
    pass


async def run(session: HubSession, follow: Callable[[Any], Awaitable[None]]) -> None:
    with pytest.raises(Enough):
        await asyncio.wait_for(session.run(follow), 5)


async def test_it_connects_again_after_every_hub_error_and_closes_what_it_leaves() -> None:
    clients = [Client(refuses=True), Client(), Client(), Client()]
    errors = [HubClosedError("hub_silent", "…"), HistoryProofError("no_proof", "…"), Enough()]
    followed = []

    async def follow(client: Client) -> None:
        followed.append(client)
        raise errors.pop(0)

    await run(session_of(clients), follow)
    assert followed == clients[1:]
    assert not any(client.is_open for client in clients)


async def test_the_connection_is_for_use_only_while_it_is_in_step() -> None:
    session = session_of([Client(), Client()])
    seen = []

    async def follow(client: Any) -> None:
        with pytest.raises(HubClosedError, match="not in step"):
            _ = session.client
        session.in_step(client)
        assert session.client is client
        seen.append(client)
        raise Enough if len(seen) == 2 else HubClosedError("closed_by_hub", "…")

    await run(session, follow)
    with pytest.raises(HubClosedError):
        _ = session.client


async def test_the_first_list_of_order_providers_is_pinned() -> None:
    session = session_of([Client((PROVIDER,)), Client((OTHER,))])
    with pytest.raises(HubClosedError):
        _ = session.order_providers
    pinned = []

    async def follow(_: Any) -> None:
        pinned.append(session.order_providers)
        raise Enough if len(pinned) == 2 else HubClosedError("closed_by_hub", "…")

    await run(session, follow)
    assert pinned == [(PROVIDER,), (PROVIDER,)]


async def test_a_hub_that_names_too_many_order_providers_is_left() -> None:
    session = session_of([Client((PROVIDER, OTHER)), Client()])

    async def follow(client: Client) -> None:
        assert client.providers == (PROVIDER,)
        raise Enough

    await run(session, follow)
