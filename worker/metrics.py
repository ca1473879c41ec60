"""What the vault lets Prometheus read, on `SLUICE_WORKER_METRICS_PORT`: of this machine, unless told otherwise.

Names are stable; amounts are in the smallest unit of their asset. No label ever holds what a peer chose freely.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from shared.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = get_logger(__name__)

REGISTRY = CollectorRegistry()

ALARMS = Gauge("sluice_alarms", "Reasons for alarm that stand now", ["kind", "severity"], registry=REGISTRY)
WALLET_BALANCE = Gauge(
    "sluice_wallet_balance",
    "What the wallet holds, of bytes and of its channels' assets",
    ["asset", "state"],
    registry=REGISTRY,
)
_LISTED = "asset: as SLUICE_EXPOSURE_LIMITS lists it, `*`: the greatest of all others"
AT_RISK = Gauge("sluice_at_risk", f"What peers could take in all channels; {_LISTED}", ["asset"], registry=REGISTRY)
GREATEST_AT_RISK = Gauge(
    "sluice_at_risk_greatest_channel", f"What one peer could take; {_LISTED}", ["asset"], registry=REGISTRY
)
LIMIT_AT_RISK = Gauge("sluice_at_risk_limit", "At this much payments are stopped", ["asset"], registry=REGISTRY)
ROBBED = Gauge(
    "sluice_robbed", f"What peers have taken and nobody has forgiven; {_LISTED}", ["asset"], registry=REGISTRY
)
ROBBERIES = Counter("sluice_robberies", "Periods that were ended by a fraud proof not ours", registry=REGISTRY)
UNSETTLED = Gauge("sluice_unsettled_channels", "Channels whose closing has not ended yet", registry=REGISTRY)
CLOSING_DEADLINE = Gauge(
    "sluice_closing_deadline_seconds",
    "Until the first peer can end a closing that we have to answer; +Inf without one",
    registry=REGISTRY,
)
WEBHOOK_LAG = Gauge(
    "sluice_webhook_oldest_pending_seconds",
    "How long ago the oldest event happened that a webhook (by its number) has not taken yet; 0 without one",
    ["webhook"],
    registry=REGISTRY,
)
WATCHER_IN_STEP = Gauge(
    "sluice_watcher_in_step_timestamp_seconds",
    "When the active worker's watcher was last in step with the ledger, as seconds since 1970; stand-bys tell it, too",
    registry=REGISTRY,
)
LEASE_HELD = Gauge("sluice_lease_held", "1 while this worker is the active one", registry=REGISTRY)
STAND_BY_UNFIT = Gauge(
    "sluice_stand_by_unfit",
    "1 while this worker stands by and could not take over; its log says why",
    registry=REGISTRY,
)


@contextmanager
def served(port: int | None, host: str = "127.0.0.1") -> Iterator[None]:
    """Serve the metrics while the block runs; nothing without a port.

    A port that is taken is logged: the vault is worth more than its metrics.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, addr=host, registry=REGISTRY)
    except OSError as error:
        logger.error("metrics_not_served", port=port, reason=str(error))  # noqa: TRY400 - says it all
        yield
        return
    logger.info("metrics_served", port=port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
