"""The receiver that every door brings its peers to: opens channels, tells whether they are ready, takes payments."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.channels.model import Allowance
from shared.obyte.chash import is_valid_address
from shared.obyte.networks import network_named
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.answers import Answer, Answers, OnPayment
from shared.receiving.channel_parameters import ChannelParameters, address_of, read_create_channel
from shared.receiving.errors import NotReadyError, PackageRefused, ReceivingError, database_errors
from shared.receiving.opening import OpeningLimits, Openings
from shared.receiving.outcomes import Receipt, Refusal
from shared.receiving.prices import Price, misses
from shared.receiving.readiness import check_ready
from shared.receiving.terms import ReceiverTerms
from shared.receiving.verification import SignedPayment, prove, verify_payment_package
from shared.receiving.waiting import ChannelWaits
from shared.store import assets, channels, instance, peer_units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.bus import Bus
    from shared.receiving.limits import PaymentLimits
    from shared.receiving.plain_payments import PlainPayment
    from shared.settings import Settings
    from shared.store.database import Database
    from shared.strict_json import JsonValue

MAX_MESSAGE_BYTES = 65_536
LONGEST_WAIT_S = 8.0
"""What is waited for besides the database, a payment's funding and the application's answer, is over this long after
the package came: a second before nginx gives a front up (`infra/nginx`), two before a peer hangs up."""
_CLOCK_MARGIN_S = 0.01


@dataclass(frozen=True, slots=True)
class CreatedChannel:
    """A channel that a peer may now publish and fund. `own_address` is the agent's A."""

    own_address: str
    aa_address: str


@dataclass(frozen=True, slots=True)
class Paid:
    """A credited payment, and what the application says to it."""

    receipt: Receipt
    answer: Answer


class Receiver:
    """One process's receiver: verification, acceptance, waiting for funding and the application's answers together."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        bus: Bus,
        on_payment: OnPayment | None = None,
        limits: PaymentLimits | None = None,
    ) -> None:
        self._database = database
        self.network = network_named(settings.network)
        self._rules = AcceptanceRules.of(settings)
        self._funding_wait_s = settings.funding_wait_s
        self._public_url = str(settings.public_url)
        self._opening_limits = OpeningLimits.of(settings)
        self._limits = limits
        self._openings = Openings(database, self.network, self._opening_limits, bus, limits)
        self._acceptor = Acceptor(database, self._rules, bus)
        self._answers = Answers(database, on_payment)
        self._waits = ChannelWaits(bus)

    async def close(self) -> None:
        """Take no more packages, finish those that wait, and let the application finish its answers."""
        await self._acceptor.close()
        await self._answers.close()
        await self._waits.close()

    async def create_channel(self, params: Mapping[str, Any], origin: str | None = None) -> CreatedChannel:
        """Open the channel a peer asks for: `{address, timeout, asset, version, salt?, url?}`; repeating is harmless.

        `origin`: the network address it is asked for from. Raises ChannelRefused, NotInitializedError, LimitedError or
        UnavailableError.
        """
        parameters, url = read_create_channel(params)
        aa_address = await self._openings.open(parameters, url, origin)
        return CreatedChannel(await self._openings.own_address(), aa_address)

    async def check_ready(self, aa_address: object, origin: str | None = None) -> None:
        """Return if the channel could take a payment now. Raises NotReadyError, ReceivingError or UnavailableError.

        `origin`: as with `create_channel`. A hint: nothing is locked. Ages are judged by the database's clock, as `pay`
        does.
        """
        if not isinstance(aa_address, str) or not is_valid_address(aa_address):
            raise ReceivingError("invalid_aa_address", "Invalid aa address")
        with database_errors():
            async with self._database.connection() as conn:
                found = (await channels.find(conn, [aa_address])).get(aa_address)
                if found is None:
                    raise NotReadyError("unknown_channel", "aa address not known")
                channel = found.channel
                units = await peer_units.of(conn, [aa_address]) if found.has_peer_units else {}
                used = await channels.unconfirmed_used(conn, [channel.asset])
                is_stopped = await assets.is_stopped(conn, channel.asset)
                here = await instance.read(conn)
        if found.expired_at is not None:
            await self._openings.revive(aa_address, origin)
        if here is None or self._rules.is_silent(here.watcher_age_s):
            raise NotReadyError("watcher_silent", "not ready, the ledger cannot be watched now")
        allowance = Allowance(
            units=units.get(aa_address, ()),
            limits=self._rules.limits.get(channel.asset),
            used_elsewhere=max(0, used[channel.asset] - channel.unconfirmed_used),
            now_s=here.now_s,
            created_by_me=found.role == "B",
            exposure=self._rules.exposure.of(channel.asset),
            is_stopped=is_stopped,
        )
        check_ready(channel, allowance)

    async def pay(self, package: JsonValue, message: JsonValue = None, origin: str | None = None) -> Paid | Refusal:
        """Take a payment and ask the application for its answer. Raises as `receive` does."""
        began_s = asyncio.get_running_loop().time()
        payment = verify_payment_package(package, self.network)
        return await self._answered(payment, await self._receive(payment, message, origin=origin), began_s)

    async def pay_plain(self, plain: PlainPayment, origin: str | None = None) -> Paid | Refusal:
        """Take what `read_plain_payment` has read, as `pay` would."""
        began_s = asyncio.get_running_loop().time()
        if self._limits is not None:
            self._limits.check(plain.terms)
        self._acceptor.check_room(plain.terms)
        payment = prove(plain.terms, plain.pubkey, plain.signature, self.network)
        return await self._answered(payment, await self._receive(payment, plain.message, origin=origin), began_s)

    async def receive(
        self,
        package: JsonValue,
        message: JsonValue = None,
        *,
        price: Price | None = None,
        origin: str | None = None,
    ) -> Receipt | Refusal:
        """Take a payment whose answer somebody else gives. `origin` as with `create_channel`, or of an API key.

        A package that brings its channel's parameters waits for the funding that the watcher has not seen yet. With a
        `price`, one that pays less or in another asset is refused (`payment_too_small`, `wrong_asset`) before anything
        is credited. Raises PackageRefused, ChannelRefused, NotInitializedError, LimitedError or UnavailableError.
        """
        payment = verify_payment_package(package, self.network)
        return await self._receive(payment, message, price, origin=origin)

    async def terms(self) -> ReceiverTerms:
        """Return on which terms peers may open channels. Raises NotInitializedError or UnavailableError."""
        own_address = await self._openings.own_address()
        with database_errors():
            async with self._database.connection() as conn:
                here = await instance.read(conn)
        published = () if here is None else here.agent_versions
        limits = self._opening_limits
        return ReceiverTerms(
            network=self.network.name,
            receiver=own_address,
            url=self._public_url,
            agent_versions=tuple(version for version in limits.agent_versions if version in published),
            min_timeout_s=limits.min_timeout_s,
            max_timeout_s=limits.max_timeout_s,
        )

    async def _receive(
        self, payment: SignedPayment, message: JsonValue, price: Price | None = None, *, origin: str | None
    ) -> Receipt | Refusal:
        text = _message_text(message)
        if self._limits is not None:
            self._limits.admit(payment)
        outcome = await self._judged(payment, text, price, origin)
        if self._limits is not None and isinstance(outcome, Refusal):
            self._limits.refused(payment, outcome)
        return outcome

    async def _answered(self, payment: SignedPayment, outcome: Receipt | Refusal, began_s: float) -> Paid | Refusal:
        if isinstance(outcome, Refusal):
            return outcome
        left_s = began_s + LONGEST_WAIT_S - asyncio.get_running_loop().time()
        return Paid(outcome, await self._answers.answer(outcome, payment.payer_address, within_s=left_s))

    async def _judged(
        self, payment: SignedPayment, text: str | None, price: Price | None, origin: str | None
    ) -> Receipt | Refusal:
        if price is not None:
            with database_errors():
                async with self._database.connection() as conn:
                    refusal = await misses(conn, payment, price)
            if refusal is not None:
                return refusal
        if payment.channel_parameters is None:
            return await self._acceptor.submit(payment, text)
        return await self._receive_introduced(payment, payment.channel_parameters, text, origin)

    async def _receive_introduced(
        self, payment: SignedPayment, parameters: ChannelParameters, message: str | None, origin: str | None
    ) -> Receipt | Refusal:
        """Take a package of a payer who does not know yet whether we know the channel."""
        deadline_s = asyncio.get_running_loop().time() + self._funding_wait_s
        aa_address = payment.terms.aa_address
        if address_of(parameters, await self._openings.own_address()) != aa_address:
            raise PackageRefused("wrong_channel_parameters", "channel_parameters are not those of aa_address")
        outcome = await self._acceptor.submit(payment, message)
        if isinstance(outcome, Receipt):
            return outcome
        if outcome.code == "unknown_channel":
            await self._openings.open(parameters, origin=origin)
        elif not outcome.awaits_funding:
            return outcome
        with self._waits.waiter(aa_address) as waiter:
            while True:
                # Whatever was true before the wait is judged anew, under the lock.
                outcome = await self._acceptor.submit(payment, message)
                left_s = deadline_s - asyncio.get_running_loop().time()
                if isinstance(outcome, Receipt) or not outcome.awaits_funding or left_s <= 0:
                    return outcome
                changes_in_s = left_s if outcome.changes_in_s is None else outcome.changes_in_s + _CLOCK_MARGIN_S
                await waiter.wait(min(left_s, changes_in_s))


def _message_text(message: JsonValue) -> str | None:
    if message is None:
        return None
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > MAX_MESSAGE_BYTES:
        raise ReceivingError("message_too_large", f"message is larger than {MAX_MESSAGE_BYTES} bytes")
    return text
