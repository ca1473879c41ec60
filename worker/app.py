"""The worker process: a Celery application for doorbells, with the wallet runtime beside its consumer.

    celery -A worker.app worker

Celery carries nothing but doorbells: the orders are rows in Postgres. Who stands by consumes none, so that each reaches
the worker that can do something about it. Without Redis the runtime goes on and finds the orders by itself, while the
consumer keeps trying to get its connection back. SIGTERM lets the step in hand finish, releases the lease and ends the
process within a bounded time. Importing this module connects nowhere.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from celery import Celery, bootsteps
from celery.signals import setup_logging, worker_shutting_down
from celery.worker import state

from shared.logs import configure_logging, get_logger
from shared.settings import SettingsError, load_settings
from worker.thread import RuntimeThread

logger = get_logger(__name__)

RUN_COMMAND = "sluice.run_command"
BROKER_TIMEOUT_S = 5.0


def _configuration() -> dict[str, Any]:
    try:
        settings = load_settings()
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    return {
        # Without Redis nobody can ring, and nobody has to.
        "broker_url": settings.broker_url or "memory://",
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {"socket_connect_timeout": BROKER_TIMEOUT_S},
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_time_limit": None,
        "worker_pool": "solo",
        "worker_concurrency": 1,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
    }


celery_app = Celery("sluice", set_as_current=False)
celery_app.add_defaults(_configuration)


@celery_app.task(name=RUN_COMMAND)
def run_command(command_id: int) -> None:
    """Ring for a command: whoever holds the lease looks at the `commands` table now instead of within a second."""
    if VaultStep.running is not None:
        VaultStep.running.wake(command_id)


class VaultStep(bootsteps.StartStopStep):
    """Runs the wallet runtime for as long as Celery's worker runs."""

    running: ClassVar[RuntimeThread | None] = None

    def start(self, worker: Any) -> None:
        """Start the runtime's thread, before the consumer starts and blocks."""
        doorbells = Doorbells(worker)
        doorbells.pause()
        VaultStep.running = RuntimeThread(load_settings(), on_failure=_shut_down, on_term=doorbells.follow)
        VaultStep.running.start()

    def stop(self, _worker: Any) -> None:
        """Let the runtime finish, after the consumer has stopped."""
        runtime, VaultStep.running = VaultStep.running, None
        if runtime is not None and not runtime.stop():
            logger.error("worker_stop_timed_out")


class Doorbells:
    """The queue of doorbells, consumed while this worker is the active one."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def pause(self) -> None:
        """Begin without them; before Celery's consumer has started."""
        celery_app.amqp.queues.deselect(celery_app.conf.task_default_queue)

    def follow(self, is_active: bool) -> None:  # noqa: FBT001 - what `on_term` is told
        """Consume them from now on, or no longer. May be called from any thread.

        The selection of queues counts for every connection that Celery makes later; Celery's own loop, which looks
        about once a second, sees to the one there is.
        """
        queues, queue = celery_app.amqp.queues, celery_app.conf.task_default_queue
        if is_active:
            queues.select_add(queues[queue])
        else:
            queues.deselect(queue)
        consumer = self._worker.consumer
        consumer.call_soon(self._see_to_connection, consumer)

    @staticmethod
    def _see_to_connection(consumer: Any) -> None:
        if consumer.task_consumer is None:
            return
        queue = celery_app.conf.task_default_queue
        # Whoever has changed his mind meanwhile is asked again.
        if queue in celery_app.amqp.queues.consume_from:
            consumer.add_task_queue(queue)
        else:
            consumer.cancel_task_queue(queue)


celery_app.steps["worker"].add(VaultStep)


@worker_shutting_down.connect(weak=False)
def _stop_at_once(**_: object) -> None:
    """Begin to hand over when the signal comes: Celery's main loop looks at it up to a second later."""
    if VaultStep.running is not None:
        VaultStep.running.begin_stop()


@setup_logging.connect(weak=False)
def _set_up_logging(**_: object) -> None:
    configure_logging(load_settings())


def _shut_down() -> None:
    """End the process from the runtime's thread: Celery's main loop looks at this word about once a second."""
    state.should_stop = os.EX_CONFIG  # type: ignore[assignment]  # its None only means that nobody asked yet
