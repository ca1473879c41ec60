"""Payers with keys, channels and packages of their own, and what they remember: every receipt, for ever."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.agent.packages import PaymentSigner
from shared.channels.model import Channel, Status
from shared.obyte.agents import channel_address, channel_definition
from shared.obyte.coins import BASE
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from sluice.payer.signing import OfflineChannel

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from shared.obyte.serialization import JsonValue

TIMEOUT_S = 1_000
DEPOSIT = 30_000_000
MOST_AT_ONCE = 2_000
"""Bytes of one payment: thousands of them stay far below half of a deposit, so that it is the payer who bears the fees
of the closing, and what the receiver gets is exact."""
_SAME = ("aa_address", "period", "amount_spent", "amount")
_BOTH_VERSIONS = ("1.1", "1.2")
"""Both agents that the receiver knows, so that both are closed in the end."""


@dataclass(slots=True, eq=False)
class Package:
    """One signed payment. `body`: the very bytes of each request that carries it."""

    channel: LoadChannel
    period: int
    amount: int
    amount_spent: int
    body: bytes = field(repr=False)
    receipt: dict[str, Any] | None = None
    news: int = 0
    """How often it was answered as credited now, instead of before."""

    def keep(self, given: dict[str, Any]) -> list[str]:
        """Keep the receipt, or see that it is the first one again; return what contradicts what is known."""
        said = tuple(given.get(name) for name in _SAME)
        signed = (self.channel.aa_address, self.period, self.amount_spent, self.amount)
        self.news += given.get("duplicate") is False
        if self.receipt is None:
            self.receipt = given
        first_id, this_id = self.receipt.get("payment_id"), given.get("payment_id")
        contradictions = {
            f"a receipt about {said} for {signed}": said != signed,
            f"credited as new {self.news} times: {signed}": self.news > 1,
            f"two receipts, {first_id} and {this_id}: {signed}": first_id != this_id,
        }
        return [text for text, is_so in contradictions.items() if is_so]


@dataclass(slots=True, eq=False)
class LoadChannel:
    """One channel. `packages`: those of the current period, in the order of signing."""

    payer: LoadPayer
    receiver: str
    salt: str
    version: str
    period: int = 0
    packages: list[Package] = field(default_factory=list)
    is_stuck: bool = False
    """A package was refused: nothing more is signed."""
    _offline: OfflineChannel | None = None

    @property
    def terms(self) -> tuple[str, str, str, int, str, str]:
        """What its address is made of."""
        return self.receiver, self.payer.address, BASE, TIMEOUT_S, self.salt, self.version

    @property
    def aa_address(self) -> str:
        """Where it is on the ledger."""
        return self.payer.address_of(self)

    @property
    def definition(self) -> JsonValue:
        """The agent, to be published with the first deposit."""
        return channel_definition(*self.terms)

    @property
    def signed(self) -> int:
        """What was signed away in this period."""
        return sum(package.amount for package in self.packages)

    @property
    def paid(self) -> int:
        """What the payer holds receipts for."""
        return sum(package.amount for package in self.packages if package.receipt is not None)

    def begin(self) -> None:
        """Begin the next period, with a deposit of its own."""
        self.period += 1
        self.packages = []
        self.is_stuck = False
        state = Channel(
            aa_address=self.aa_address,
            own_address=self.payer.address,
            peer_address=self.receiver,
            asset=BASE,
            timeout_s=TIMEOUT_S,
            version=self.version,
            status=Status.OPEN,
            period=self.period,
            deposited_by_me=self.payer.deposit,
        )
        self._offline = OfflineChannel(state, PaymentSigner(self.payer.key, DEVNET))

    def sign(self, amount: int) -> Package:
        """Sign one payment more and remember it before anything is sent."""
        if self._offline is None:
            raise RuntimeError("sign after begin")
        signed = self._offline.sign(amount)
        # Neither a tag nor a time: the same package is the same bytes, whenever it is sent.
        body = f'{{"command":"pay","params":{{"signed_package":{signed.package}}}}}'.encode()
        package = Package(self, signed.period, signed.payment_amount, signed.amount_spent, body)
        self.packages.append(package)
        return package


class LoadPayer:
    """One payer. `idle`: his channels that wait for no answer."""

    def __init__(
        self,
        number: int,
        receiver: str,
        channels: int,
        chance: random.Random,
        *,
        deposit: int = DEPOSIT,
        versions: Sequence[str] = _BOTH_VERSIONS,
    ) -> None:
        """`deposit`: bytes in each period of each channel. `versions`: of the agent, one channel after the other."""
        self.deposit = deposit
        self.name = f"payer-{number}"
        self.key = KeyPair(hashlib.sha256(b"faults %d %d" % (number, chance.getrandbits(64))).digest())
        self.address = self.key.address
        self.channels = [
            LoadChannel(self, receiver, f"faults{number}x{index}", versions[index % len(versions)])
            for index in range(channels)
        ]
        self.idle: deque[LoadChannel] = deque(self.channels)
        self._addresses: dict[str, str] = {}

    def address_of(self, channel: LoadChannel) -> str:
        """Return a channel's address; made once, because it takes hashing."""
        if channel.salt not in self._addresses:
            self._addresses[channel.salt] = channel_address(*channel.terms)
        return self._addresses[channel.salt]
