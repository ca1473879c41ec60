"""ChannelPlugin: money over BTP as claims of payment channels (`claims` has the frames).

    money out   sign and store, then send; what nobody acknowledged is sent again with the next connection, and when
                the peer says that it has not been paid (T04). A claim is cumulative, so sending it again costs nothing.
    money in    verify, commit, tell the host, acknowledge. What was committed is ours: if telling the host fails it is
                told again later, and the peer is answered well.

At the beginning of every connection the peer is asked for the last claim it has of us. A higher one than we know of is
one that we signed and then forgot, with a backup: we go on from there. A lower one has missed some: it gets the newest.
Until then nothing is signed.

`balance` among the options counts packets and money, refuses what exceeds it and settles by its thresholds; connectors,
which count themselves, leave it out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from shared.interledger.btp.subprotocols import CHANNEL, INFO, LAST_CLAIM
from shared.interledger.btp_plugin.plugin import BtpPlugin
from shared.interledger.channel_plugin.accounting import Accounting, read_terms, says_unpaid
from shared.interledger.channel_plugin.turns import Turns
from shared.interledger.claims import (
    READS,
    channel_answer,
    channel_question,
    claim_entries,
    info_answer,
    info_question,
    last_claim_answer,
    last_claim_question,
    read_channel_answer,
    read_claim,
    read_info_answer,
    read_last_claim_answer,
    read_question,
)
from shared.interledger.errors import ClaimError
from shared.interledger.plugin.errors import (
    BtpError,
    InvalidFieldsError,
    InvalidServicesError,
    LedgerPluginError,
    MoneyNotSentError,
    NotAcceptedError,
    NotConnectedError,
    UnreachableError,
)
from shared.strict_json import MAX_SAFE_INTEGER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.interledger.btp.frames import Entries
    from shared.interledger.btp_plugin.surroundings import Surroundings
    from shared.interledger.channel_plugin.ports import Credit, Package, Pays, Takes
    from shared.interledger.claims import ChannelState, Claim, PayeeInfo
    from shared.interledger.plugin.options import PluginServices

TELLING_WAITS_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""How long to wait before a money handler that has failed is told again; the last one for ever."""
SETTLING_PAUSE_S = 1.0
"""For how long nothing is settled after it could not be."""


class ChannelPlugin(BtpPlugin):
    """One account whose money are claims. `pays` signs ours, `takes` takes the peer's; one of them at least.

    Raises InvalidServicesError without both (LPI-15), and as BtpPlugin; `balance` is the one more option.
    """

    reads: ClassVar[frozenset[str]] = READS
    max_amount: ClassVar[int] = MAX_SAFE_INTEGER

    def __init__(
        self,
        opts: Mapping[str, Any],
        api: PluginServices | Mapping[str, Any] | None = None,
        *,
        pays: Pays | None = None,
        takes: Takes | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        super().__init__(opts, api, surroundings=surroundings)
        if pays is None and takes is None:
            raise InvalidServicesError("this plugin needs who signs claims or who takes them: pays or takes")
        terms = self._opts.get("balance")
        self.accounting = Accounting(None if terms is None else read_terms(terms))
        self._pays = pays
        self._takes = takes
        self._turns = Turns()
        self._signing = asyncio.Lock()
        self._in_step = asyncio.Event()
        self._being_told: set[str] = set()
        self._is_telling = False
        self._has_untold = False
        self._is_resending = False
        self._is_settling = False
        self._no_settling_until_s = float("-inf")

    # Asking the peer

    async def ask_info(self) -> PayeeInfo:
        """Ask what the peer takes. Raises NotAcceptedError if it does not say, and as `send_data`."""
        try:
            return read_info_answer(await self._connecting.while_connected(self._ask(info_question())))
        except ClaimError as error:
            raise NotAcceptedError(str(error)) from None

    async def ask_channel(self, aa_address: str) -> ChannelState | None:
        """Ask what the peer knows of a channel, None for nothing. Raises as `ask_info`."""
        try:
            entries = await self._connecting.while_connected(self._ask(channel_question(aa_address)))
            return read_channel_answer(aa_address, entries)
        except ClaimError as error:
            raise NotAcceptedError(str(error)) from None

    # Money out

    async def _send_money(self, amount: int) -> None:
        pays = self._pays
        if pays is None:
            raise MoneyNotSentError("nobody signs claims here")
        await self._in_step.wait()
        async with self._signing:
            package = await pays.sign(amount)
        await self._send_claim(pays, amount, package)

    async def _send_claim(self, pays: Pays, amount: int, package: Package) -> None:
        entries = claim_entries(package)
        try:
            await self._pay(amount, entries)
        except NotConnectedError:
            # It is signed, and with the next connection it will be sent: so it is not known that nothing will leave.
            raise UnreachableError("the claim is signed, and will be sent when the peer is back") from None
        await pays.acknowledged(read_claim(amount, entries))

    def _peer_came(self) -> None:
        if self._takes is not None:
            self._tell_later(at_once=True)
        if self._pays is None:
            return
        self._in_step.clear()
        self._workers.start(self._get_in_step(self._pays))

    async def _get_in_step(self, pays: Pays) -> None:
        try:
            theirs = await self._last_claim(pays)
            package = await pays.newest()
            ours = None if package is None else read_claim(1, claim_entries(package))
            if theirs is not None and (ours is None or _is_above(theirs, ours)):
                await pays.recover(theirs)
                self._log.warn("the peer had a claim of ours that was not known any longer: gone on from there")
            elif ours is not None and package is not None and (theirs is None or _is_above(ours, theirs)):
                self._in_step.set()
                await self._send_claim(pays, ours.payment_amount, package)
        except Exception as error:  # noqa: BLE001 - also of a book that is away; paying may work all the same
            self._log.warn("the peer and we are not in step: %s", _said(error))
        finally:
            self._in_step.set()

    async def _last_claim(self, pays: Pays) -> Claim | None:
        try:
            claim = read_last_claim_answer(await self._ask(last_claim_question(pays.aa_address)))
        except (ClaimError, BtpError):
            return None  # a peer that knows no such question
        return claim if claim is not None and claim.aa_address == pays.aa_address else None

    async def _resend(self, pays: Pays) -> None:
        try:
            package = await pays.newest()
            if package is not None:
                await self._send_claim(pays, read_claim(1, claim_entries(package)).payment_amount, package)
        except Exception as error:  # noqa: BLE001 - it is sent again with the next connection
            self._log.info("the newest claim was not acknowledged: %s", _said(error))
        finally:
            self._is_resending = False

    # Money in

    async def _handle_transfer(self, amount: int, entries: Entries) -> Entries:
        takes = self._takes
        if takes is None:
            raise NotAcceptedError("money is not taken here")
        try:
            claim = read_claim(amount, entries)
        except ClaimError as error:
            raise InvalidFieldsError(str(error)) from None
        # An ending waits for all of it: the peer is owed the answer (LPI-27).
        with self._connecting.owing():
            async with self._turns.of(claim.aa_address):
                credit = await takes.accept(claim)
            if credit.amount:
                if credit.amount != amount:
                    self._log.info("a claim adds %d, and its transfer says %d", credit.amount, amount)
                self.accounting.received(credit.amount)
                await self._tell_of_new(takes, credit)
        return ()

    async def _tell_of_new(self, takes: Takes, credit: Credit) -> None:
        if not await self._tell(takes, credit):
            self._tell_later()
        if self._money_handler is None:
            raise NotAcceptedError("no money handler is registered; the claim is kept")  # LPI-12

    async def _tell(self, takes: Takes, credit: Credit) -> bool:
        """Tell the host, and note it; False if it has to be told again (CLM-6)."""
        if self._money_handler is None or credit.id in self._being_told:
            return False
        info = {
            "credit_id": credit.id,
            "aa_address": credit.aa_address,
            "period": credit.period,
            "amount_spent": credit.amount_spent,
        }
        self._being_told.add(credit.id)
        try:
            await self._incoming_money(credit.amount, info)
            await takes.told(credit)
        except Exception as error:  # noqa: BLE001 - the money is ours, whatever the host does
            self._log.error("the money handler has failed and is told again later: %s", type(error).__name__)
            return False
        finally:
            self._being_told.discard(credit.id)
        return True

    def _tell_later(self, *, at_once: bool = False) -> None:
        self._has_untold = True
        if not self._is_telling and self._takes is not None:
            self._is_telling = True
            self._workers.start(self._tell_all(self._takes, (0.0, *TELLING_WAITS_S) if at_once else TELLING_WAITS_S))

    async def _tell_all(self, takes: Takes, waits_s: tuple[float, ...]) -> None:
        turn = 0
        try:
            while self._has_untold:
                wait_s = waits_s[min(turn, len(waits_s) - 1)]
                if wait_s:
                    await self._surroundings.sleep(wait_s)
                turn += 1
                self._has_untold = False
                try:
                    results = [await self._tell(takes, credit) for credit in await takes.untold()]
                except Exception as error:  # noqa: BLE001 - the book is away: later
                    self._log.error("what was not told cannot be read: %s", type(error).__name__)
                    results = [False]
                self._has_untold = self._has_untold or not all(results)
        finally:
            self._is_telling = False

    # Data

    async def _send_data(self, data: bytes) -> bytes:
        reply = await self.accounting.outgoing(data, super()._send_data)
        if self._pays is not None:
            self._settle_later(self._pays)
            if not self._is_resending and says_unpaid(reply):
                self._is_resending = True
                self._workers.start(self._resend(self._pays))
        return reply

    async def _incoming_data(self, data: bytes) -> bytes:
        return await self.accounting.incoming(data, super()._incoming_data)

    def _settle_later(self, pays: Pays) -> None:
        amount = self.accounting.to_settle
        now_s = asyncio.get_running_loop().time()
        if amount and not self._is_settling and now_s >= self._no_settling_until_s:
            self._is_settling = True
            self.accounting.settling(amount)
            self._workers.start(self._settle(pays, amount))

    async def _settle(self, pays: Pays, amount: int) -> None:
        try:
            await self._in_step.wait()
            async with self._signing:
                package = await pays.sign(amount)
            await self._send_claim(pays, amount, package)
        except MoneyNotSentError as error:
            self._no_settling_until_s = asyncio.get_running_loop().time() + SETTLING_PAUSE_S
            self.accounting.not_settled(amount)
            self._log.warn("what is owed could not be paid: %s", error)
        except Exception as error:  # noqa: BLE001 - it may be signed: then the next claim has it in it
            self._log.info("a claim was not acknowledged: %s", _said(error))
        finally:
            self._is_settling = False

    # Questions of the peer

    async def _handle_message(self, name: str, entries: Entries) -> Entries:
        takes = self._takes
        if name == INFO:
            info = None if takes is None else await takes.info()
            return () if info is None else info_answer(info)
        if name not in (CHANNEL, LAST_CLAIM):
            return ()
        try:
            aa_address = read_question(name, entries)
        except ClaimError as error:
            raise InvalidFieldsError(str(error)) from None
        if name == CHANNEL:
            return channel_answer(aa_address, None if takes is None else await takes.channel(aa_address))
        return last_claim_answer(None if takes is None else await takes.last_claim(aa_address))


def _is_above(one: Claim, other: Claim) -> bool:
    return (one.period, one.amount_spent) > (other.period, other.amount_spent)


def _said(error: Exception) -> str:
    """Return what may be logged of an error: our own say nothing secret, of others nobody knows."""
    return str(error) if isinstance(error, LedgerPluginError) else type(error).__name__
