"""The wallet runtime in a thread of its own: Celery's consumer blocks the main one."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from shared.bus import Bus
from shared.logs import get_logger
from shared.obyte.networks import network_named
from shared.obyte.pairing import is_valid_hub
from shared.receiving.answers_over_http import answer_server
from shared.receiving.exposure import exposure_rules
from shared.settings import SettingsError
from shared.store.database import Database, Role
from shared.store.mark import Mark, mark_file_of
from shared.webhooks.resolving import Resolver
from worker.archiving import Keeping
from worker.closing_watch import ClosingLimits
from worker.devices.messenger import Device
from worker.errors import ConfigurationError
from worker.forgetting import Retention
from worker.giving_up import Patience
from worker.keys import open_wallet_keys
from worker.metrics import served
from worker.runtime import GRACE_S, Runtime
from worker.session_pace import SessionPace
from worker.vault import Circumstances, Pace
from worker.wallet import Spending
from worker.watcher import WatcherPace
from worker.webhooks.terms import webhook_terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.keys import KeyPair
    from shared.receiving.answers_over_http import AnswerServer
    from shared.settings import Settings

logger = get_logger(__name__)

STOP_BOUND_S = 2 * GRACE_S
"""How long `stop` waits: for the step in hand, then for the database to hear that the lease is free."""
MAX_CONNECTIONS = 5
MAX_DEVICE_CONNECTIONS = 3
"""Of a pool of their own: strangers' messages must not keep the vault waiting for the database."""


class RuntimeThread:
    """Runs one `Runtime` from `start` to `stop`.

    Called from the thread: `on_failure` if it ends by itself, `on_term` with True when a term begins and False when it
    ends.
    """

    def __init__(
        self, settings: Settings, on_failure: Callable[[], None], on_term: Callable[[bool], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._on_failure = on_failure
        self._on_term = on_term
        self._thread = threading.Thread(target=self._work, name="wallet-runtime", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runtime: Runtime | None = None

    def start(self) -> None:
        """Start the thread; nothing is connected yet when this returns."""
        self._thread.start()

    def wake(self, command_id: int) -> None:
        """Pass a doorbell on. Returns at once, whether or not anybody is there to hear."""
        if self._loop is not None and self._runtime is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._runtime.wake, command_id)

    def begin_stop(self) -> None:
        """Let it finish the step in hand, release the lease and end; returns at once."""
        if self._loop is not None and self._runtime is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._runtime.stop)

    def stop(self) -> bool:
        """Finish the step in hand, release the lease and end; False if that took longer than `STOP_BOUND_S`."""
        self._ready.wait(STOP_BOUND_S)
        self.begin_stop()
        self._thread.join(STOP_BOUND_S)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except ConfigurationError as error:
            logger.critical("worker_cannot_run", code=error.code, reason=str(error))
            self._on_failure()
        except Exception:
            logger.critical("worker_failed", exc_info=True)
            self._on_failure()
        finally:
            self._ready.set()

    async def _run(self) -> None:
        settings = self._settings
        keys = open_wallet_keys(settings)
        key = keys.payment
        application = _application(settings)
        database = await Database.connect(
            settings.database_dsn,
            role=Role.WORKER,
            application_name="sluice-worker",
            max_connections=MAX_CONNECTIONS,
            behind_transaction_pooler=settings.database_pooler,
        )
        bus = Bus(None if settings.redis_url is None else settings.redis_url.get_secret_value())
        device = await self._make_device(keys.device, application)
        resolver = Resolver()
        webhooks = await webhook_terms(settings, key, resolver)
        given = Circumstances(
            key=key,
            network=network_named(settings.network),
            network_name=settings.network,
            hub_url=settings.hub_url,
            bus=bus,
            order_providers=settings.order_providers,
            pace=_pace(settings),
            spending=Spending(settings.wallet_reserve, settings.max_fee_ratio, settings.max_fee),
            exposure=exposure_rules(settings),
            agent_versions=settings.agent_versions,
            channel_timeout_s=settings.default_channel_timeout_s,
            closing=ClosingLimits(
                warn_share=settings.deadline_warn_share,
                defend_share=settings.deadline_defend_share,
                overdue_s=settings.closing_overdue_s,
                confirm_from=settings.confirm_closings_from,
            ),
            retention=Retention(settings.events_retention_s),
            keeping=Keeping(settings.payments_archive_after_s or None, settings.payments_retention_s or None),
            patience=Patience(settings.unfunded_channel_expiry_s or None, most=settings.max_unfunded_channels),
            device=device,
            webhooks=webhooks,
            mark=Mark(
                mark_file_of(settings.wallet_file, settings.network),
                own_address=key.address,
                network=settings.network,
            ),
        )
        self._runtime = Runtime(database, given, lease_ttl_s=settings.lease_ttl_s, on_term=self._on_term)
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        try:
            with served(settings.worker_metrics_port, settings.worker_metrics_host):
                await self._runtime.run()
        finally:
            await bus.close()
            await database.close()
            if device is not None:
                await device.database.close()
            await webhooks.database.close()
            resolver.close()

    async def _make_device(self, key: KeyPair, application: AnswerServer | None) -> Device | None:
        settings = self._settings
        if not settings.device_messages:
            return None
        if not is_valid_hub(settings.public_device_hub):
            logger.warning("device_messages_off", reason="SLUICE_DEVICE_HUB should be the host of a hub")
            return None
        database = await Database.connect(
            settings.database_dsn,
            role=Role.WORKER,
            application_name="sluice-worker-devices",
            max_connections=MAX_DEVICE_CONNECTIONS,
            behind_transaction_pooler=settings.database_pooler,
        )
        return Device(key, settings, database, application)


def _application(settings: Settings) -> AnswerServer | None:
    """Return who answers payments that come as device messages. Raises ConfigurationError `answers_unusable`."""
    try:
        return answer_server(settings) if settings.device_messages else None
    except SettingsError as error:
        raise ConfigurationError("answers_unusable", str(error)) from error


def _pace(settings: Settings) -> Pace:
    shortest_s, silence_s = settings.min_channel_timeout_s, settings.watcher_max_silence_s
    return Pace(
        hub=SessionPace.for_channels(shortest_s, max_silence_s=silence_s),
        watcher=WatcherPace.for_channels(shortest_s, max_silence_s=silence_s),
    )
