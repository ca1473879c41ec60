"""Ending a channel: our closing, our confirmation, and waiting for what the agent pays out."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.agent.triggers import bytes_to_send, trigger_data
from shared.channels.closing import Close, FraudProof, Trigger, next_trigger, order_close
from shared.channels.model import Status
from shared.channels.paying import spendable
from shared.obyte.composing import Output, data_message
from shared.obyte.errors import HubError
from sluice.payer import store as payer_store
from sluice.payer.errors import LedgerError, PayerError
from sluice.payer.opening import check_deposit, deposit_outputs
from sluice.payer.posting import UnitOrder
from sluice.payer.wallet import SettlementSummary

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from shared.channels.model import Channel
    from sluice.payer.book import ChannelBook
    from sluice.payer.posting import UnitPoster
    from sluice.payer.store import PayerStore, Purpose, StoredChannel
    from sluice.payer.wallet import PayerWallet

LOOK_EVERY_S = 30.0
RETRY_S = 2.0


class Settler:
    """Deposits into the channels of one payer and brings them to their end."""

    def __init__(
        self,
        *,
        book: ChannelBook,
        store: PayerStore,
        wallet: PayerWallet,
        poster: UnitPoster,
        clock: Callable[[], float],
        confirm_margin_s: float,
    ) -> None:
        self._book = book
        self._store = store
        self._wallet = wallet
        self._poster = poster
        self._clock = clock
        self._confirm_margin_s = confirm_margin_s
        self._lock = asyncio.Lock()

    async def deposit(self, aa_address: str, amount: int) -> None:
        """Add a deposit; it counts for payments at once, for the peer when it trusts or sees it stable.

        Raises PayerError `invalid_deposit`, `not_payable`; CompositionError, LedgerError, HubError: nothing was paid.
        """
        channel = self._book[aa_address].state
        check_deposit(amount, channel.asset)
        if channel.is_closing or self._wallet.is_peer_closing(aa_address) or not channel.definition_confirmed:
            raise PayerError("not_payable", "the channel takes no deposits now")
        await self._poster.send(
            UnitOrder(
                purpose="deposit",
                aa_address=aa_address,
                period=channel.current_period,
                payments=deposit_outputs(aa_address, amount, channel.asset),
                deposit=amount,
                policy="all",
            )
        )

    async def close(self, aa_address: str) -> None:
        """Close the current period: no more payments are signed, and the agent is told what was spent.

        May be called again after an error, and does nothing when the closing is under way. Raises ChannelError
        (`not_closable`), CompositionError, LedgerError, HubError.
        """
        peer_is_closing = self._wallet.is_peer_closing(aa_address)

        def work(_: sqlite3.Connection, stored: StoredChannel) -> tuple[StoredChannel, None]:
            if stored.state.status is Status.OPEN and stored.state.period_closed_by_me == stored.state.period:
                return stored, None
            ordered, _close = order_close(stored.state, peer_is_closing=peer_is_closing)
            return replace(stored, state=ordered), None

        # Ordered, on the disk, before the claim is composed: no payment can be signed in between and be missed by it.
        await self._book.change(aa_address, work)
        await self.advance(aa_address)

    async def advance(self, aa_address: str) -> float | None:
        """Send what the closing needs now, unless it is on its way; return in how many seconds something may be due."""
        async with self._lock:
            channel = self._book[aa_address].state
            entries = await self._store.run(lambda connection: payer_store.journal(connection, aa_address))
            bounces = sum(entry.state == "bounced" and entry.period == channel.period for entry in entries)
            margin_s = self._confirm_margin_s * (1 + bounces)
            trigger = next_trigger(channel, ledger_time_s=self._clock(), margin_s=margin_s)
            if trigger is None:
                if channel.status is not Status.CLOSING_BY_ME or channel.close_started_at_s is None:
                    return None
                return max(0.0, channel.close_started_at_s + channel.timeout_s + margin_s - self._clock())
            purpose = _purpose(trigger)
            is_sent = any(
                (entry.purpose, entry.period) == (purpose, trigger.period) and entry.state in {"composed", "posted"}
                for entry in entries
            )
            if not is_sent:
                alike = [entry for entry in entries if (entry.purpose, entry.period) == (purpose, trigger.period)]
                amount = bytes_to_send(channel, trigger, [entry.reason for entry in alike])
                await self._poster.send(_order(channel, trigger, purpose, amount))
            return None

    async def settle(self, aa_address: str, timeout_s: float | None) -> SettlementSummary:
        """Wait until the current period is closed and paid out, and send what that needs.

        After our closing that is a confirmation when the timeout has passed, unless the peer confirms before. After the
        peer's closing it is a confirmation at once, or a proof of fraud if the peer hid what it had signed.
        Raises PayerError `not_open` (nothing to settle), LedgerError `timeout`, `unit_refused`, `double_spend`,
        CompositionError (funds, fees).
        """
        state = self._book[aa_address].state
        period = state.period
        if period == 0:
            raise PayerError("not_open", "the channel was never opened")
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    news = self._book.news
                    summary = await self._store.run(lambda db: payer_store.settlement(db, aa_address, period))
                    if summary is not None:
                        return SettlementSummary(**json.loads(summary))
                    await _wait(news, min(await self._try_to_advance(aa_address), LOOK_EVERY_S))
        except TimeoutError:
            raise LedgerError("timeout", f"the channel was not closed within {timeout_s:g} s") from None

    async def _try_to_advance(self, aa_address: str) -> float:
        """Do as `advance`, but a hub that is away is no reason to stop; return when to look again."""
        try:
            due_s = await self.advance(aa_address)
        except HubError:
            return RETRY_S
        except LedgerError as error:
            if error.code != "not_connected":
                raise
            return RETRY_S
        return LOOK_EVERY_S if due_s is None else due_s

    async def wait_spendable(self, aa_address: str, amount: int, timeout_s: float | None) -> Channel:
        """Wait until stable deposits cover a payment. Raises LedgerError `timeout`, `bounced`, as `wait_open` does."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    news = self._book.news
                    channel = self._book[aa_address].state
                    if channel.status is Status.OPEN and spendable(channel) >= amount:
                        return channel
                    await self._check_deposits(aa_address)
                    await _wait(news, LOOK_EVERY_S)
        except TimeoutError:
            raise LedgerError("timeout", f"no deposit covered the payment within {timeout_s:g} s") from None

    async def wait_open(self, aa_address: str, timeout_s: float | None) -> Channel:
        """Wait until the agent has taken the first deposit of the period. Raises LedgerError `timeout`, `bounced`."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    news = self._book.news
                    channel = self._book[aa_address].state
                    if channel.status is not Status.CLOSED:
                        return channel
                    await self._check_deposits(aa_address)
                    await _wait(news, LOOK_EVERY_S)
        except TimeoutError:
            raise LedgerError("timeout", f"the channel was not open within {timeout_s:g} s") from None

    async def _check_deposits(self, aa_address: str) -> None:
        entries = await self._store.run(lambda connection: payer_store.journal(connection, aa_address))
        if entries and entries[-1].state in {"bounced", "failed"}:
            raise LedgerError("bounced", f"the deposit did not reach the agent: {entries[-1].reason}")


async def _wait(news: asyncio.Event, at_most_s: float) -> None:
    try:
        async with asyncio.timeout(at_most_s):
            await news.wait()
    except TimeoutError:
        return


def _purpose(trigger: Trigger) -> Purpose:
    if isinstance(trigger, Close):
        return "close"
    return "fraud_proof" if isinstance(trigger, FraudProof) else "confirm"


def _order(channel: Channel, trigger: Trigger, purpose: Purpose, amount: int) -> UnitOrder:
    return UnitOrder(
        purpose=purpose,
        aa_address=channel.aa_address,
        period=trigger.period,
        # Exactly this: a byte more, and the agent of a channel of bytes takes it for a deposit.
        payments=[Output(channel.aa_address, amount)],
        messages=[data_message(trigger_data(trigger))],
    )
