"""The money for a payment: a channel that has it, more into one that has not, or a new one. One change at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.channels.model import Status
from shared.channels.paying import spendable
from shared.obyte.agents import AGENT_VERSIONS
from sluice.httpx.budget import PaymentDeclinedError
from sluice.payer.opening import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Collection

    from sluice.httpx.budget import Spending
    from sluice.payer import Payer, PayerChannel
    from sluice.terms import Terms


class ChannelFinder:
    """Finds channels for one transport; `open_wait_s` is how long a deposit may take to become stable."""

    def __init__(self, payer: Payer, spending: Spending, open_wait_s: float) -> None:
        self._payer = payer
        self._spending = spending
        self._open_wait_s = open_wait_s
        self._lock = asyncio.Lock()

    async def find(self, terms: Terms, amount: int, *, without: Collection[str] = ()) -> str:
        """Return a channel to the receiver that can pay the amount, but for channels that it would not take.

        Raises PaymentDeclinedError (no deposit allowed), and what opening and depositing raise.
        """
        found = self._ready(terms, amount, without)
        if found is not None:
            return found
        async with self._lock:
            found = self._ready(terms, amount, without)
            return found if found is not None else await self._fund(terms, amount, without)

    def _ready(self, terms: Terms, amount: int, without: Collection[str]) -> str | None:
        for channel in self._usable(terms, without):
            if channel.state.status is Status.OPEN and spendable(channel.state) >= amount:
                return channel.aa_address
        return None

    def _usable(self, terms: Terms, without: Collection[str]) -> list[PayerChannel]:
        return [
            channel
            for channel in self._payer.channels()
            if channel.url == terms.url
            and channel.aa_address not in without
            and (channel.state.asset, channel.state.peer_address) == (terms.asset, terms.receiver)
            and not channel.state.is_closing
            and channel.state.period_closed_by_me != channel.state.current_period
        ]

    async def _fund(self, terms: Terms, amount: int, without: Collection[str]) -> str:
        usable = self._usable(terms, without)
        for channel in usable:
            if not channel.state.definition_confirmed:  # opened before, its deposit is on its way
                await channel.wait_open(self._open_wait_s)
                if spendable(channel.state) >= amount:
                    return channel.aa_address
        deposit, left = self._spending.budget.deposit, spendable(usable[-1].state) if usable else 0
        if deposit + left < amount:
            raise PaymentDeclinedError(
                "no_channel", f"no channel has {amount}, and a deposit of {deposit} is too small"
            )
        self._spending.take_deposit()
        try:
            if usable:
                aa_address = usable[-1].aa_address
                await self._payer.deposit(aa_address, deposit)
            else:
                aa_address = await self._open(terms, deposit)
        except Exception:
            self._spending.give_back_deposit()
            raise
        await self._payer.wait_spendable(aa_address, amount, self._open_wait_s)
        return aa_address

    async def _open(self, terms: Terms, deposit: int) -> str:
        channel = await self._payer.open_channel(
            terms.url,
            deposit,
            asset=terms.asset,
            timeout_s=min(max(DEFAULT_TIMEOUT_S, terms.min_timeout_s), terms.max_timeout_s),
            versions=[version for version in AGENT_VERSIONS if version in terms.agent_versions],
            receiver=terms.receiver,
        )
        return channel.aa_address
