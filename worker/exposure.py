"""Measures what peers could rob us of, closes channels because of it, and stops the fronts at the limit.

Fronts hold each channel below its limit by themselves, and ask for it to be closed when enough was earned in it. What
is left for here: the sum over all channels of an asset, which no front can know, and channels whose closing failed or
that grew otherwise. A measurement reads every channel, so the more it costs the rarer it is made.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from shared.channels.exposure import (
    ANY_ASSET,
    AssetAtRisk,
    at_risk,
    channels_to_sweep,
    is_closable,
    is_near,
    must_stop,
)
from shared.logs import get_logger
from shared.store import assets, channels, exposure, peer_units, robberies
from shared.store.alarms import AlarmKind
from shared.store.errors import DatabaseBusyError
from worker.metrics import AT_RISK, GREATEST_AT_RISK, LIMIT_AT_RISK, ROBBED

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.channels.exposure import ExposureRules
    from shared.channels.model import ExposureLimits
    from shared.store.robberies import Robbery
    from worker.alarms import Alarms
    from worker.guard import Guard

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ExposurePace:
    """How often what is at risk is measured."""

    round_s: float = 2.0
    """At most this often, in seconds."""
    rest: float = 20.0
    """So many times longer than a measurement has taken it is not repeated."""


@dataclass(frozen=True, slots=True)
class _Before:
    """The last measurement of an asset."""

    total: int
    at_s: float


class Exposure:
    """The exposure of one term of the lease. `on_order` is told when commands have been queued."""

    def __init__(
        self,
        guard: Guard,
        alarms: Alarms,
        rules: ExposureRules,
        *,
        on_order: Callable[[], None],
        monotonic: Callable[[], float],
        pace: ExposurePace,
    ) -> None:
        self._guard = guard
        self._alarms = alarms
        self._rules = rules
        self._on_order = on_order
        self._monotonic = monotonic
        self._pace = pace
        self._before: dict[str, _Before] = {}
        self._interval_s = pace.round_s

    async def run(self) -> None:
        """Measure and act, again and again. Runs forever; raises StoreError when the database or the lease is gone."""
        while True:
            try:
                await self._round()
            except DatabaseBusyError as error:
                # What was measured last still holds, and its age tells how old it is.
                logger.warning("exposure_not_measured", reason=str(error))
            await asyncio.sleep(self._interval_s)

    async def _round(self) -> None:
        began_s = self._monotonic()
        found = await self._measure()
        ended_s = self._monotonic()
        self._interval_s = max(self._pace.round_s, self._pace.rest * (ended_s - began_s))
        wanted = await self._judge(found, ended_s)
        ordered = [await self._order(aa_address) for aa_address in wanted]
        if any(ordered):
            self._on_order()

    async def _measure(self) -> dict[str, AssetAtRisk]:
        found: dict[str, AssetAtRisk] = {}
        after: str | None = ""
        while after is not None:
            async with self._guard.reading() as conn:
                page = await exposure.measure(conn, self._rules, after)
            for asset, part in page.found.items():
                found[asset] = found.get(asset, AssetAtRisk()).joined(part)
            after = page.last
        async with self._guard.reading() as conn:
            for asset, amount in (await exposure.deposits_on_their_way(conn)).items():
                found[asset] = found.get(asset, AssetAtRisk()).joined(AssetAtRisk(total=amount))
            # Last: what is stolen while the channels are read counts twice, rather than not at all.
            for asset, amount in (await robberies.amounts(conn)).items():
                found[asset] = found.get(asset, AssetAtRisk()).joined(AssetAtRisk(robbed=amount))
            self._tell_of_robberies(await robberies.unforgiven(conn))
        return found

    async def _judge(self, found: dict[str, AssetAtRisk], now_s: float) -> list[str]:
        """Record what was found, stop or release assets, raise alarms; return the channels to close."""
        async with self._guard.transaction() as conn:
            known = await assets.exposures(conn, self._rules.by_asset)
            measured = {asset: found.get(asset, AssetAtRisk()) for asset in sorted({*known, *found})}
            stopped = {
                asset: must_stop(
                    risk,
                    self._rules.of(asset),
                    growth=self._growth(asset, risk.total, now_s),
                    was_stopped=asset in known and known[asset].is_stopped,
                )
                for asset, risk in measured.items()
            }
            await assets.record_exposures(
                conn, [(asset, risk.total, stopped[asset]) for asset, risk in measured.items()]
            )
        wanted: list[str] = []
        for asset, risk in measured.items():
            limits = self._rules.of(asset)
            near = is_near(risk, limits, was_near=asset in self._alarms.subjects(AlarmKind.EXPOSURE_NEAR_LIMIT))
            self._tell(asset, risk, limits, near=near, is_stopped=stopped[asset])
            wanted += channels_to_sweep(risk, limits, is_near_limit=near)
        self._before = {asset: _Before(risk.total, now_s) for asset, risk in measured.items() if risk.total}
        self._show(measured)
        return wanted

    def _growth(self, asset: str, total: int, now_s: float) -> int:
        """How much more will be at risk when it is measured next, at the pace of the last interval."""
        before = self._before.get(asset)
        if before is None or now_s <= before.at_s:
            return 0
        return int((total - before.total) * self._interval_s / (now_s - before.at_s))

    def _tell(self, asset: str, risk: AssetAtRisk, limits: ExposureLimits, *, near: bool, is_stopped: bool) -> None:
        for kind, stands in ((AlarmKind.EXPOSURE_NEAR_LIMIT, near), (AlarmKind.EXPOSURE_LIMIT, is_stopped)):
            if stands:
                facts = {"at_risk": risk.total, "robbed": risk.robbed, "max_total": limits.max_total}
                self._alarms.raise_(kind, asset, **facts)
            else:
                self._alarms.clear(kind, asset)

    def _tell_of_robberies(self, found: list[Robbery]) -> None:
        """Let an alarm stand for every channel whose robbery nobody has forgiven, as far as they are listed."""
        for robbery in found:
            facts = {name: value for name, value in asdict(robbery).items() if name != "aa_address"}
            self._alarms.raise_(AlarmKind.ROBBED, robbery.aa_address, **facts)
        for aa_address in self._alarms.subjects(AlarmKind.ROBBED) - {robbery.aa_address for robbery in found}:
            self._alarms.clear(AlarmKind.ROBBED, aa_address)

    def _show(self, measured: dict[str, AssetAtRisk]) -> None:
        """Set the gauges. Peers choose the names of assets: those that are not listed share one label."""
        for listed in {*self._rules.by_asset, ANY_ASSET}:
            those = [
                risk
                for asset, risk in measured.items()
                if (asset if asset in self._rules.by_asset else ANY_ASSET) == listed
            ]
            AT_RISK.labels(asset=listed).set(max((risk.total for risk in those), default=0))
            ROBBED.labels(asset=listed).set(max((risk.robbed for risk in those), default=0))
            GREATEST_AT_RISK.labels(asset=listed).set(max((risk.greatest for risk in those), default=0))
            LIMIT_AT_RISK.labels(asset=listed).set(self._rules.of(listed).max_total)

    async def _order(self, aa_address: str) -> bool:
        """Ask for a channel to be closed, if that is still to be done; True if a command was queued."""
        async with self._guard.transaction() as conn:
            channel = await channels.lock_one(conn, aa_address)
            if channel is None or not is_closable(channel) or channel.is_unsure or not at_risk(channel):
                return False
            units = (await peer_units.of(conn, [aa_address])).get(aa_address, ())
            if any(unit.closes for unit in units):
                return False
            command_id = await exposure.order_sweep_again(conn, aa_address, channel.period)
        if command_id is None:
            return False
        logger.info("sweep_ordered", command=command_id, aa_address=aa_address, period=channel.period)
        return True
