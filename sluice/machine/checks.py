"""What `sluice doctor` looks at: every dependency and setting, and what to do about each fault."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import stat
import sys
import time
from typing import TYPE_CHECKING

import asyncpg
import httpx
import redis.asyncio
from redis.exceptions import RedisError

from shared.obyte.errors import ObyteError
from shared.obyte.hub_client import HubClient
from shared.obyte.networks import network_named
from shared.obyte.system_variables import compare_order_providers
from shared.receiving.exposure import exposure_rules
from shared.settings import unknown_variables
from shared.store import assets, instance, lease, ledger_pins
from shared.store.migrations import schema_is_usable
from sluice.machine.application import check_application
from sluice.machine.books import check_books
from sluice.machine.embedded import EmbeddedError, postgres_programs, redis_program
from sluice.machine.findings import Finding, Verdict
from sluice.machine.standing import check_alarms
from sluice.machine.vault import VaultError, open_vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from shared.settings import Settings
    from shared.store.database import Connection

OLDEST_PYTHON = (3, 11)
OLDEST_POSTGRES = 14
LITTLE_DISK = 2_000_000_000  # bytes
NO_DISK = 200_000_000
MOST_APART_S = 2.0  # of clocks
_BOUND_S = 5.0


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Check everything; `settings` are those of `sluice.home.attached`."""
    yield _python()
    for line in unknown_variables():
        yield Finding("settings", Verdict.WARN, line, "remove it or correct its name")
    yield _disk(settings.home)
    async for finding in _postgres(settings):
        yield finding
    yield await _redis(settings)
    async for finding in _hubs(settings):
        yield finding
    for finding in _wallet(settings):
        yield finding
    async for finding in check_application(settings):
        yield finding
    yield await _front(settings)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", Verdict.FAIL, version, "install Python 3.11 or newer")
    return Finding("python", Verdict.OK, version)


def _disk(home: Path) -> Finding:
    place = next(step for step in (home, *home.parents) if step.exists())
    free = shutil.disk_usage(place).free
    verdict = Verdict.FAIL if free < NO_DISK else Verdict.WARN if free < LITTLE_DISK else Verdict.OK
    advice = "" if verdict is Verdict.OK else "free some space"
    return Finding("disk", verdict, f"{free / 1e9:.1f} GB free at {place}", advice)


async def _postgres(settings: Settings) -> AsyncIterator[Finding]:
    if settings.database_url is None:
        yield _embedded("postgres", postgres_programs)
        return
    try:
        conn = await asyncpg.connect(settings.database_dsn, timeout=_BOUND_S, command_timeout=_BOUND_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        yield Finding("postgres", Verdict.FAIL, _text(error), "check SLUICE_DATABASE_URL and that the server runs")
        return
    try:
        yield await _postgres_version(conn)
        yield await _durability(conn)
        yield await _clock(conn)
        yield await _server_log(conn)
        async for finding in _schema(conn, settings):
            yield finding
    finally:
        await conn.close(timeout=_BOUND_S)


async def _postgres_version(conn: Connection) -> Finding:
    found = f"Postgres {conn.get_settings().server_version.partition(' ')[0]}"
    if await conn.fetchval("SELECT pg_is_in_recovery()"):
        return Finding("postgres", Verdict.FAIL, f"{found}, a stand-by", "name the primary in SLUICE_DATABASE_URL")
    if conn.get_server_version().major < OLDEST_POSTGRES:
        return Finding("postgres", Verdict.FAIL, found, f"use Postgres {OLDEST_POSTGRES} or newer")
    return Finding("postgres", Verdict.OK, found)


async def _durability(conn: Connection) -> Finding:
    names = ("fsync", "full_page_writes", "synchronous_commit")
    off = [name for name in names if await conn.fetchval(f"SHOW {name}") in {"off", "local"}]
    if off:
        found = f"{' and '.join(off)} not on"
        return Finding("durability", Verdict.FAIL, found, "switch on: a payment must not be lost after we said yes")
    if await conn.fetchval("SHOW synchronous_standby_names"):
        return Finding("durability", Verdict.OK, "what Postgres confirms is on its disk, and on that of a stand-by")
    return Finding("durability", Verdict.OK, "what Postgres confirms is on its disk, and need not be on any other")


async def _clock(conn: Connection) -> Finding:
    # Fronts judge by their own clock how old a request is, and by the database's how old a deposit is.
    asked_s = time.time()
    there_s = float(await conn.fetchval("SELECT date_part('epoch', clock_timestamp())"))
    apart_s = max(asked_s - there_s, there_s - time.time(), 0.0)
    if apart_s > MOST_APART_S:
        found = f"this machine and the database are {apart_s:.0f} s apart"
        return Finding("clock", Verdict.WARN, found, "set both, and keep them set (NTP)")
    return Finding("clock", Verdict.OK, "as the database's")


async def _server_log(conn: Connection) -> Finding:
    if await conn.fetchval("SHOW log_error_verbosity") != "terse":
        advice = "set log_error_verbosity to terse (infra/postgres/roles.sql)"
        return Finding("server log", Verdict.WARN, "quotes rows that are refused, signed packages included", advice)
    return Finding("server log", Verdict.OK, "quotes no rows")


async def _schema(conn: Connection, settings: Settings) -> AsyncIterator[Finding]:
    if not await schema_is_usable(conn):
        yield Finding("schema", Verdict.FAIL, "not what this release needs", "run `sluice migrate`")
        return
    yield Finding("schema", Verdict.OK, "up to date")
    here = await instance.read(conn)
    if here is None:
        yield Finding("watcher", Verdict.WARN, "no worker has run on this database yet", "start `sluice worker`")
    elif here.network not in {settings.network, network_named(settings.network).name}:
        yield Finding("watcher", Verdict.FAIL, f"the database is of {here.network}", "check SLUICE_NETWORK")
    elif here.watcher_age_s is None or here.watcher_age_s > settings.watcher_max_silence_s:
        age = (
            "since the database was started or restored"
            if here.watcher_age_s is None
            else f"for {here.watcher_age_s:.0f} s"
        )
        yield Finding("watcher", Verdict.FAIL, f"silent {age}: fronts refuse payments", "see the worker's log")
    else:
        yield Finding("watcher", Verdict.OK, f"in step with the ledger {here.watcher_age_s:.0f} s ago")
    if here is not None:
        yield await _worker(conn)
    async for finding in _exposure(conn, settings):
        yield finding
    if here is not None:
        yield await check_books(conn, settings, here)
    async for finding in check_alarms(conn):
        yield finding


async def _worker(conn: Connection) -> Finding:
    holder = await lease.active(conn, lease.WALLET)
    if holder is None:
        advice = "start `sluice worker`; one that runs and does not take over says why in its log (stand_by_unfit)"
        return Finding("worker", Verdict.WARN, "none is active: closings of peers go unanswered", advice)
    return Finding("worker", Verdict.OK, f"{holder} is active")


async def _exposure(conn: Connection, settings: Settings) -> AsyncIterator[Finding]:
    """What peers could take through the holes of agent 1.1, by asset."""
    rules = exposure_rules(settings)
    for asset, found in (await assets.exposures(conn, rules.by_asset)).items():
        limits = rules.of(asset)
        age = "not measured yet" if found.age_s is None else f"{found.age_s:.0f} s ago"
        said = f"{asset}: {_grouped(found.at_risk)} of at most {_grouped(limits.max_total)} at risk, {age}"
        if found.is_stopped:
            advice = "wait for closings to settle, or raise max_total in SLUICE_EXPOSURE_LIMITS"
            yield Finding("at risk", Verdict.FAIL, f"{said}: fronts refuse payments of agent 1.1", advice)
        elif found.at_risk * 5 >= limits.max_total * 4 and found.at_risk:
            yield Finding("at risk", Verdict.WARN, said, "channels are being closed; see SLUICE_EXPOSURE_LIMITS")
        elif found.age_s is not None and found.age_s > settings.watcher_max_silence_s:
            yield Finding("at risk", Verdict.WARN, said, "nobody limits the total: see the worker's log")
        else:
            yield Finding("at risk", Verdict.OK, said)


async def _redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        return _embedded("redis", redis_program)
    try:
        async with redis.asyncio.from_url(
            settings.redis_url.get_secret_value(), socket_timeout=_BOUND_S, socket_connect_timeout=_BOUND_S
        ) as client:
            about = await client.info("server")
    except (RedisError, OSError, TimeoutError) as error:
        # Payments go on without it, only slower to be told about.
        return Finding("redis", Verdict.WARN, _text(error), "check SLUICE_REDIS_URL and that the server runs")
    return Finding("redis", Verdict.OK, f"Redis {about['redis_version']}")


async def _hubs(settings: Settings) -> AsyncIterator[Finding]:
    pinned = await _pinned_order_providers(settings)
    answers = await asyncio.gather(*(_votes(url, settings) for url in settings.hub_urls))
    # The worker goes on with any one of them.
    without = Verdict.WARN if any(isinstance(votes, tuple) for votes in answers) else _missing(settings)
    for url, votes in zip(settings.hub_urls, answers, strict=True):
        if isinstance(votes, str):
            advice = (
                "start `sluice up`"
                if settings.runs_devnet
                else "check SLUICE_HUB_URL, SLUICE_NETWORK and the way to the network"
            )
            yield Finding("hub", without, f"{url}: {votes}", advice)
            continue
        yield Finding("hub", Verdict.OK, url)
        if pinned and (apart := compare_order_providers(pinned, votes)).matters:
            found = f"{url} names others: {', '.join(apart.named_only)} instead of {', '.join(apart.pinned_only)}"
            yield Finding("order providers", Verdict.WARN, found, "see `sluice wallet order-providers`")
    if pinned:
        yield Finding("order providers", Verdict.OK, f"{len(pinned)} pinned")


async def _votes(url: str, settings: Settings) -> tuple[str, ...] | str:
    """Return the order providers that a hub says the network has voted for, or why it cannot be asked."""
    try:
        async with asyncio.timeout(2 * _BOUND_S):
            async with HubClient(url, network_named(settings.network), request_timeout_s=_BOUND_S) as hub:
                return (await hub.get_system_variables()).order_providers()
    except (ObyteError, TimeoutError) as error:
        return _text(error)


async def _pinned_order_providers(settings: Settings) -> tuple[str, ...]:
    """Return those pinned in the settings or in the database, none where it cannot be read: that is told elsewhere."""
    if settings.order_providers or settings.database_url is None:
        return settings.order_providers
    with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError):
        conn = await asyncpg.connect(settings.database_dsn, timeout=_BOUND_S, command_timeout=_BOUND_S)
        try:
            return (await ledger_pins.read(conn)).order_providers
        finally:
            await conn.close(timeout=_BOUND_S)
    return ()


def _wallet(settings: Settings) -> Iterator[Finding]:
    file = settings.wallet_file
    if not file.exists():
        yield Finding("wallet", _missing(settings), f"there is no {file}", "make one with `sluice wallet init`")
        return
    try:
        address = open_vault(settings).address
    except (VaultError, ObyteError, OSError) as error:
        yield Finding("wallet", Verdict.FAIL, _text(error), "check SLUICE_WALLET_FILE, SLUICE_WALLET_PASSPHRASE_FILE")
        return
    yield Finding("wallet", Verdict.OK, address)
    for secret in (file, settings.wallet_passphrase_file):
        if secret.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Finding("wallet", Verdict.WARN, f"others may read {secret}", f"chmod 600 {secret}")


async def _front(settings: Settings) -> Finding:
    url = settings.local_url
    try:
        async with httpx.AsyncClient(timeout=_BOUND_S, trust_env=False) as client:
            answer = await client.get(f"{url}readyz")
            reasons = answer.json()["reasons"]
    except httpx.ConnectError:
        return Finding("front", Verdict.WARN, f"nothing listens on {url}", "start `sluice up` or `sluice front`")
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return Finding("front", Verdict.FAIL, f"something else listens on {url}", "set SLUICE_PORT to a free port")
    if reasons:
        return Finding("front", Verdict.FAIL, f"{url} is not ready: {', '.join(reasons)}", "see the checks above")
    return Finding("front", Verdict.OK, f"{url} is ready")


def _embedded(check: str, program: Callable[[], Path]) -> Finding:
    try:
        program()
    except EmbeddedError as error:
        return Finding(check, Verdict.FAIL, str(error), "install the extra, or run a server of your own")
    return Finding(check, Verdict.OK, "embedded, not running now")


def _missing(settings: Settings) -> Verdict:
    # On devnet `sluice up` makes what is missing; elsewhere nobody does.
    return Verdict.WARN if settings.runs_devnet else Verdict.FAIL


def _grouped(amount: int) -> str:
    return f"{amount:_}".replace("_", " ")


def _text(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
