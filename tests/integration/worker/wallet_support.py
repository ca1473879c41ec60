"""Orders for the wallet of a running worker, and ways in which the hub fails it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.obyte.composing import Output
from shared.obyte.hub_client import HubClient
from shared.obyte.hub_errors import HubTimeoutError, JointRefusedError
from shared.store import alarms, journal
from tests.integration.worker.support import BOUND_S, eventually
from worker.wallet import Purpose, UnitOrder, Urgency, Wallet

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from shared.obyte.composing import Parents
    from shared.store.alarms import AlarmKind
    from shared.store.journal import Entry
    from tests.integration.worker.support import Party, World
    from worker.runtime import Runtime


async def wallet_of(world: World, runtime: Runtime) -> Wallet:
    """The wallet of a worker that is in step with the ledger."""
    await asyncio.wait_for(runtime.holding.wait(), BOUND_S)
    await eventually(world.is_awake, "a heartbeat")

    async def ready() -> Wallet | None:
        # Looked up each time: on a busy machine a short lease may be lost, and the next term has a wallet of its own.
        vault = runtime._vault
        is_ready = vault is not None and vault.wallet._is_read and vault._session._client is not None
        return vault.wallet if vault is not None and is_ready else None

    wallet: Wallet = await eventually(ready, "a wallet that is in step")
    return wallet


async def disclose(world: World) -> None:
    """Put our definition on the ledger, so that no unit is refused for telling it again while it becomes stable."""
    world.own.post([Output(world.own.address, 1_000)])
    await world.devnet.stabilise()


async def always(_: Any) -> bool:
    return True


def order(purpose: str | Purpose, payee: str, amount: int = 1_000, **more: Any) -> UnitOrder:
    """An order to pay bytes, wanted whatever happens."""
    wanted = Purpose(purpose) if isinstance(purpose, str) else purpose
    fields: dict[str, Any] = {"messages": (), "is_wanted": always, "max_aa_responses": None, **more}
    return UnitOrder(purpose=wanted, payments=(Output(payee, amount),), **fields)


def defence(payee: str, amount: int = 1_000, **more: Any) -> UnitOrder:
    """An order that cannot wait."""
    return order("defence", payee, amount, urgency=Urgency.DEFENCE, **more)


async def journal_of(world: World) -> list[Entry]:
    """All units that the worker ever made, in their order."""
    async with world.database.connection() as conn:
        return list(reversed(await journal.page(conn)))


async def until_resolved(world: World, unit: str | None) -> Entry:
    """Wait until the fate of a unit is known."""

    async def look() -> Entry | None:
        async with world.database.connection() as conn:
            entry = await journal.get(conn, str(unit))
        return entry if entry is not None and entry.resolved_at is not None else None

    entry: Entry = await eventually(look, f"the fate of {unit}")
    return entry


async def until_alarm(world: World, kind: AlarmKind, *, stands: bool = True) -> dict[str, Any]:
    """Wait until an alarm stands, or stands no more; returns its facts."""

    async def look() -> tuple[dict[str, Any]] | None:
        async with world.database.connection() as conn:
            found = [alarm.facts for alarm in await alarms.active(conn) if alarm.kind is kind]
        if bool(found) is not stands:
            return None
        return (found[0] if found else {},)

    [facts] = await eventually(look, f"alarm {kind} {'raised' if stands else 'cleared'}")
    return dict(facts)


def paid_to(world: World, address: str) -> list[tuple[str, int]]:
    """Units of ours on the ledger, void ones left out, that pay an address, and how many bytes each."""
    return [
        (record.hash, output["amount"])
        for record in world.devnet.ledger.state.dag.records.values()
        if record.unit["authors"][0]["address"] == world.own.address and record.sequence == "good"
        for message in record.unit.get("messages", [])
        if message["app"] == "payment" and "asset" not in message["payload"]
        for output in message["payload"]["outputs"]
        if output["address"] == address
    ]


def spike(monkeypatch: pytest.MonkeyPatch, fee: int) -> None:
    """Let the hub ask for a TPS fee of this many bytes."""
    honest = HubClient.get_parents

    async def ask_more(client: HubClient, **params: Any) -> Parents:
        return replace(await honest(client, **params), tps_fee=fee)

    monkeypatch.setattr(HubClient, "get_parents", ask_more)


def lose(monkeypatch: pytest.MonkeyPatch, is_lost: Callable[[dict[str, Any]], bool], *, is_posted: bool) -> list[str]:
    """Let the hub say nothing when certain units are posted or asked for; `is_posted`: it takes them all the same."""
    post, get = HubClient.post_joint, HubClient.get_joint
    lost: list[str] = []

    async def say_nothing(client: HubClient, joint: Any) -> None:
        if not is_lost(joint["unit"]):
            await post(client, joint)
            return
        lost.append(joint["unit"]["unit"])
        if is_posted:
            await post(client, joint)
        raise HubTimeoutError("post_joint", 0)

    async def tell_nothing(client: HubClient, unit: str) -> Any:
        if unit in lost and is_posted:
            raise HubTimeoutError("get_joint", 0)
        return await get(client, unit)

    monkeypatch.setattr(HubClient, "post_joint", say_nothing)
    monkeypatch.setattr(HubClient, "get_joint", tell_nothing)
    return lost


def pays(address: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a unit pays an address."""
    return lambda unit: any(
        output["address"] == address
        for message in unit["messages"]
        if message["app"] == "payment"
        for output in message["payload"]["outputs"]
    )


def make_void(world: World, monkeypatch: pytest.MonkeyPatch, is_unlucky: Callable[[dict[str, Any]], bool]) -> list[str]:
    """Let the first such unit of ours lose to another one, which spends the same coins and is final already."""
    post = HubClient.post_joint
    lost: list[str] = []
    own: Party = world.own

    async def post_late(client: HubClient, joint: Any) -> None:
        if lost or not is_unlucky(joint["unit"]):
            await post(client, joint)
            return
        lost.append(joint["unit"]["unit"])
        own.post([Output(own.address, 1_000)])
        world.devnet.ledger.settle()
        world.devnet.ledger.post(joint, with_conflicts=True)
        world.devnet.ledger.settle()

    monkeypatch.setattr(HubClient, "post_joint", post_late)
    return lost


def refuse_first(monkeypatch: pytest.MonkeyPatch, text: str, *, is_kept: bool) -> list[str]:
    """Let the hub refuse our next unit and deny that it has it; `is_kept`: it has taken it all the same."""
    post, get = HubClient.post_joint, HubClient.get_joint
    refused: list[str] = []

    async def refuse(client: HubClient, joint: Any) -> None:
        if refused:
            await post(client, joint)
            return
        refused.append(joint["unit"]["unit"])
        if is_kept:
            await post(client, joint)
        raise JointRefusedError(text, "refused")

    async def deny(client: HubClient, unit: str) -> Any:
        return None if unit in refused else await get(client, unit)

    monkeypatch.setattr(HubClient, "post_joint", refuse)
    monkeypatch.setattr(HubClient, "get_joint", deny)
    return refused
