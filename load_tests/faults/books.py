"""What payers hold against what the receiver has written, what the auditor says, and what the ledger has paid."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from shared.agent.responses import amount_received
from shared.audit import RULES, Audit
from shared.channels.model import Status
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.coins import BASE
from shared.receiving.acceptance import AcceptanceRules
from shared.store.audit.reading import snapshot
from shared.store.audit.rules import Limits

if TYPE_CHECKING:
    from load_tests.faults.payers import LoadChannel, Package
    from load_tests.faults.stage import Stage

AUDIT_S = 120.0
_MOST_TOLD = 10
_PAYMENTS = """
    SELECT id, aa_address, period, amount_spent, payment_amount FROM payments
     WHERE aa_address = ANY($1) ORDER BY id
"""
_CHANNELS = "SELECT aa_address, status, period, spent_by_peer, credit FROM channels WHERE aa_address = ANY($1)"
_ENDS = """
    SELECT aa_address, period, unit FROM ledger_events WHERE kind = 'closed' AND aa_address = ANY($1)
"""


async def faults_of_payments(stage: Stage) -> list[str]:
    """Hold every receipt of the current periods against the rows: none lost, none twice, none invented."""
    by_address = {channel.aa_address: channel for channel in stage.channels}
    async with stage.books() as conn:
        rows = await conn.fetch(_PAYMENTS, list(by_address))
        states = {row["aa_address"]: row for row in await conn.fetch(_CHANNELS, list(by_address))}
    found: list[str] = []
    rows = [row for row in rows if row["period"] == by_address[row["aa_address"]].period]
    written = {(row["aa_address"], row["amount_spent"]): row for row in rows}
    if len(written) != len(rows):
        found.append(f"{len(rows) - len(written)} packages are credited twice")
    signed = {
        (channel.aa_address, package.amount_spent): package
        for channel in stage.channels
        for package in channel.packages
    }
    found += [f"a payment that nobody has signed: {key}" for key in written.keys() - signed.keys()]
    for key, package in signed.items():
        found += _faults_of(package, written.get(key))
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["aa_address"]] += row["payment_amount"]
    for channel in stage.channels:
        state, credited = states.get(channel.aa_address), sums[channel.aa_address]
        if credited != channel.paid:
            found.append(f"{channel.aa_address}: paid {channel.paid}, credited {credited}")
        # After its end a channel has forgotten its period; until then its row says the same.
        booked = None if state is None else (state["period"], state["spent_by_peer"] - state["credit"])
        if state is None or (state["status"] == Status.OPEN and booked != (channel.period, channel.paid)):
            found.append(
                f"{channel.aa_address}: paid {channel.paid} in period {channel.period}, its books say {booked}"
            )
    return found[:_MOST_TOLD]


async def faults_of_audit(stage: Stage) -> list[str]:
    """Let the auditor look at the whole database, as `sluice audit --deep` does."""
    settings = stage.topology.settings
    accepting = AcceptanceRules.of(settings)
    audit = Audit(RULES, Limits(accepting.limits, accepting.exposure), default_network=settings.network)
    async with snapshot(stage.database_url, statement_s=AUDIT_S) as conn:
        report = await audit.run(conn)
    return [f"audit: {finding.name} {list(finding.rows)[:3]}" for finding in report.broken][:_MOST_TOLD]


async def faults_of_payouts(stage: Stage) -> list[str]:
    """Ask the ledger what each agent has paid the receiver in the end: the receipts, and the bytes of his trigger."""
    by_address = {channel.aa_address: channel for channel in stage.channels}
    async with stage.books() as conn:
        rows = await conn.fetch(_ENDS, list(by_address))
    units = {(row["aa_address"], row["period"]): row["unit"] for row in rows}
    found = await asyncio.gather(
        *(
            _fault_of_payout(stage, channel, units.get((channel.aa_address, channel.period)))
            for channel in stage.channels
        )
    )
    return [text for text in found if text][:_MOST_TOLD]


def _faults_of(package: Package, row: Any) -> list[str]:
    """A receipt without its row, or a row that says something else. A row without a receipt is told by the sums."""
    key = (package.channel.aa_address, package.period, package.amount_spent, package.amount)
    if package.receipt is None:
        return []
    if row is None:
        return [f"a receipt without a payment: {key}"]
    said = (row["id"], row["payment_amount"])
    given = (package.receipt["payment_id"], package.amount)
    return [] if said == given else [f"a receipt for {given} and a payment of {said}: {key}"]


async def _fault_of_payout(stage: Stage, channel: LoadChannel, unit: str | None) -> str:
    if unit is None:
        return f"{channel.aa_address}: its end is not on record"
    joint: Any = await stage.hub.get_joint(unit)
    if joint is None or [author["address"] for author in joint["authors"]] != [channel.aa_address]:
        return f"{channel.aa_address}: the unit of its end is not the agent's"
    got = amount_received(joint, channel.receiver, BASE)
    wanted = channel.paid + MIN_AGENT_BYTES
    return "" if got == wanted else f"{channel.aa_address}: the ledger paid {got}, receipts and trigger are {wanted}"
