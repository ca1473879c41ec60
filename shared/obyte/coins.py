"""Which outputs of the ledger a wallet owns and may spend.

A coin is an output to one of my addresses in a good unit that no good unit spends. What is known about a unit only
grows, in this order, and every delivery is merged by taking the greater knowledge:

    unstable and good  <  unstable and bad  <  stable and good  <  stable and bad

So the set is the same whatever the order and the number of deliveries. A unit that became bad may still end good:
only stability decides (Obyte, light client, `sequence_became_bad`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

Policy: TypeAlias = Literal["none", "own", "all"]
"""Unstable coins that may be spent: none; those of units my addresses authored; all good ones."""

BASE = "base"
AGENT_COIN_AGE_S = 30
"""Outside devnet an agent's unstable response may be re-created differently for about this long."""


@dataclass(frozen=True, slots=True, order=True)
class Outpoint:
    """Where an output is: unit hash, index of the message in the unit, index of the output in the message."""

    unit: str
    message_index: int
    output_index: int


_Output: TypeAlias = tuple[Outpoint, str, str, int]
"""Where it is, address, asset, amount."""


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent output to `address`; `amount` in the smallest unit of `asset` ("base" or the asset's unit hash)."""

    unit: str
    message_index: int
    output_index: int
    address: str
    asset: str
    amount: int
    is_stable: bool = True
    mci: int | None = None
    """Main chain index of the unit as the hub told it, None while unstable."""
    author_is_mine: bool = False
    author_is_agent: bool = False
    seen_s: float = 0
    """When the unit was first seen, by our clock; its own timestamp if that is later."""

    @property
    def outpoint(self) -> Outpoint:
        """Where the coin is on the ledger."""
        return Outpoint(self.unit, self.message_index, self.output_index)


@dataclass(frozen=True, slots=True)
class Balance:
    """Sum of unspent coins, those of stable and those of unstable good units."""

    stable: int
    pending: int

    @property
    def total(self) -> int:
        """Stable and pending together."""
        return self.stable + self.pending


@dataclass(slots=True)
class _KnownUnit:
    """What was delivered about one unit, reduced to what moves my money."""

    outputs: tuple[_Output, ...] = ()
    inputs: tuple[Outpoint, ...] = ()
    author_is_mine: bool = False
    author_is_agent: bool = False
    timestamp_s: int = 0
    first_seen_s: float | None = None
    disclosed: frozenset[str] = frozenset()
    has_content: bool = False
    """False while only the hash is known, or the stripped form of a void unit."""
    is_stable: bool = False
    is_bad: bool = False
    mci: int | None = None

    @property
    def seen_s(self) -> float:
        return max(self.timestamp_s, self.first_seen_s or 0)

    def learn(self, *, is_stable: bool, is_bad: bool, mci: int | None, seen_s: float | None) -> None:
        self.is_stable, self.is_bad = max((self.is_stable, self.is_bad), (is_stable, is_bad))
        if is_stable and mci is not None:
            self.mci = max(mci, self.mci or 0)
        if seen_s is not None:
            self.first_seen_s = min(seen_s, self.first_seen_s or seen_s)


@dataclass(slots=True)
class CoinSet:
    """The coins of `addresses`, built from deliveries of units in any order and any number of times.

    Units must have passed their single-unit checks; a stable unit must be proven stable.
    """

    addresses: frozenset[str]
    _units: dict[str, _KnownUnit] = field(default_factory=dict, repr=False)
    _spenders: dict[Outpoint, set[str]] = field(default_factory=dict, repr=False)
    _open: dict[Outpoint, _Output] = field(default_factory=dict, repr=False)
    """Outputs that no stable and good unit spends: few, however long the history is."""

    def apply(
        self,
        unit: Mapping[str, JsonValue],
        *,
        is_stable: bool,
        mci: int | None = None,
        sequence: Literal["good", "bad"] = "good",
        seen_s: float | None = None,
    ) -> None:
        """Take note of one delivery of a unit.

        `sequence` "bad": the unit lost to a conflicting one (for a stable unit: it is nonserial and void). `seen_s`:
        when it was delivered, by our clock. An agent's response bears the time of a unit before the one it answers, so
        its own timestamp does not tell how young it is.
        """
        unit_hash = str(unit["unit"])
        known = self._units.get(unit_hash)
        if known is None or not known.has_content:
            earlier, known = known, self._read(unit_hash, unit)
            if earlier is not None:
                known.learn(
                    is_stable=earlier.is_stable, is_bad=earlier.is_bad, mci=earlier.mci, seen_s=earlier.first_seen_s
                )
            self._units[unit_hash] = known
            for output in known.outputs:
                self._open_or_shut(output[0])
        known.learn(is_stable=is_stable, is_bad=sequence == "bad", mci=mci, seen_s=seen_s)
        if known.is_stable:
            for outpoint in known.inputs:
                self._open_or_shut(outpoint)

    def mark_bad(self, unit_hash: str) -> None:
        """The hub says that an unstable unit lost to a conflicting one; nothing happens to a stable unit."""
        self._units.setdefault(unit_hash, _KnownUnit()).learn(is_stable=False, is_bad=True, mci=None, seen_s=None)

    def forget(self, unit_hash: str) -> None:
        """Drop a unit that was never on the ledger: one of mine, composed and refused. A delivery brings it back."""
        known = self._units.get(unit_hash)
        if known is not None and not known.is_stable:
            del self._units[unit_hash]
            for output in known.outputs:
                self._open.pop(output[0], None)
            for spenders in self._spenders.values():
                spenders.discard(unit_hash)

    def __contains__(self, unit_hash: str) -> bool:
        """Whether the content of the unit is known."""
        known = self._units.get(unit_hash)
        return known is not None and known.has_content

    def is_stable(self, unit_hash: str) -> bool:
        """Whether the unit was delivered as proven stable."""
        known = self._units.get(unit_hash)
        return known is not None and known.is_stable

    def is_bad(self, unit_hash: str) -> bool:
        """Whether the unit lost to a conflicting one, by what is known now."""
        known = self._units.get(unit_hash)
        return known is not None and known.is_bad

    def unstable_units(self) -> tuple[str, ...]:
        """Hashes of delivered units that are not stable yet: to be asked for again in the next history request."""
        return tuple(unit_hash for unit_hash, known in self._units.items() if not known.is_stable)

    def last_stable_mci(self) -> int:
        """Return the highest main chain index among stable units, 0 when there is none."""
        return max((known.mci or 0 for known in self._units.values() if known.is_stable), default=0)

    def coins(self, asset: str | None = None, *, without: Collection[str] = ()) -> tuple[Coin, ...]:
        """Unspent coins of one asset or of all, in the order of their outpoints; `without`: see `spendable`."""
        found = sorted(self._unspent(without, asset), key=lambda unspent: unspent[1][0])
        return tuple(_coin(known, output) for known, output in found)

    def spent_by(self, unit_hash: str) -> tuple[Coin, ...]:
        """Return the known coins that a unit spends: a replacement must spend them too, so that only one can hold."""
        spent = (outpoint for outpoint, spenders in self._spenders.items() if unit_hash in spenders)
        found = []
        for outpoint in sorted(spent):
            known = self._units.get(outpoint.unit)
            found += [_coin(known, output) for output in known.outputs if output[0] == outpoint] if known else []
        return tuple(found)

    def assets(self) -> tuple[str, ...]:
        """Assets of which there are unspent coins."""
        return tuple(sorted({asset for _, (_, _, asset, _) in self._unspent()}))

    def balance(self, asset: str = BASE) -> Balance:
        """Sums of the unspent coins of one asset."""
        total = stable = 0
        for known, (_, _, _, amount) in self._unspent(asset=asset):
            total += amount
            stable += amount if known.is_stable else 0
        return Balance(stable, total - stable)

    def certain(self, asset: str = BASE) -> int:
        """Sum of the unspent coins that nobody else can take back: of stable units and of our own."""
        return sum(
            amount for known, (_, _, _, amount) in self._unspent(asset=asset) if known.is_stable or known.author_is_mine
        )

    def spendable(
        self,
        asset: str = BASE,
        policy: Policy = "own",
        *,
        last_ball_mci: int | None = None,
        settled_before_s: float | None = None,
        without: Collection[str] = (),
    ) -> tuple[Coin, ...]:
        """Coins that a new unit may spend under `policy`.

        `last_ball_mci`: stable coins above it count as unstable. `settled_before_s` (now minus `AGENT_COIN_AGE_S`,
        None on devnet): unstable coins of agents' responses first seen after it are left out. `without`: units that
        are taken as if they did not exist; what they spend can be spent.
        """
        chosen = []
        for coin in self.coins(asset, without=without):
            is_settled = coin.is_stable and (last_ball_mci is None or coin.mci is None or coin.mci <= last_ball_mci)
            is_young = coin.author_is_agent and settled_before_s is not None and coin.seen_s > settled_before_s
            if is_settled or (not is_young and (policy == "all" or (policy == "own" and coin.author_is_mine))):
                chosen.append(coin)
        return tuple(chosen)

    def purse(
        self,
        assets: Iterable[str],
        policy: Policy = "own",
        *,
        network: Network,
        last_ball_mci: int,
        now_s: float,
        without: Collection[str] = (),
    ) -> list[Coin]:
        """Coins for a unit that pays in these assets, and its fees in bytes, now and after this last ball.

        `without`: see `spendable`.
        """
        settled_before_s = None if network.name == "devnet" else now_s - AGENT_COIN_AGE_S
        return [
            coin
            for asset in {BASE, *assets}
            for coin in self.spendable(
                asset, policy, last_ball_mci=last_ball_mci, settled_before_s=settled_before_s, without=without
            )
        ]

    def definition_disclosed(self, address: str, last_ball_mci: int) -> bool:
        """Whether a stable unit up to `last_ball_mci` carries the definition of the address.

        A new unit of the address must carry the definition exactly when this is False.
        """
        return any(
            address in known.disclosed and known.is_stable and not known.is_bad and (known.mci or 0) <= last_ball_mci
            for known in self._units.values()
        )

    def _unspent(self, without: Collection[str] = (), asset: str | None = None) -> Iterator[tuple[_KnownUnit, _Output]]:
        """Yield outputs with their units; cheaply, as strangers can send any number of them."""
        for outpoint, output in self._open.items():
            if asset is not None and output[2] != asset:
                continue
            known = self._units[outpoint.unit]
            if known.is_bad or outpoint.unit in without:
                continue
            spenders = self._spenders.get(outpoint)
            if not spenders or all(spender in without or self._units[spender].is_bad for spender in spenders):
                yield known, output

    def _open_or_shut(self, outpoint: Outpoint) -> None:
        """See whether an output of mine has been spent for good."""
        known = self._units.get(outpoint.unit)
        spenders = (self._units.get(spender) for spender in self._spenders.get(outpoint, ()))
        if known is None or any(spender and spender.is_stable and not spender.is_bad for spender in spenders):
            self._open.pop(outpoint, None)
            return
        self._open.update({output[0]: output for output in known.outputs if output[0] == outpoint})

    def _read(self, unit_hash: str, unit: Mapping[str, JsonValue]) -> _KnownUnit:
        authors = _objects(unit.get("authors"))
        outputs, inputs = [], []
        for message_index, payload in _payments(unit):
            for spent in _objects(payload.get("inputs")):
                if "type" not in spent or spent["type"] == "transfer":
                    inputs.append(_spent_outpoint(spent))
                    self._spenders.setdefault(inputs[-1], set()).add(unit_hash)
            asset = str(payload.get("asset", BASE))
            for output_index, output in enumerate(_objects(payload.get("outputs"))):
                address, amount = output.get("address"), output.get("amount")
                if isinstance(address, str) and address in self.addresses and isinstance(amount, int):
                    outputs.append((Outpoint(unit_hash, message_index, output_index), address, asset, amount))
        timestamp_s = unit.get("timestamp")
        return _KnownUnit(
            outputs=tuple(outputs),
            inputs=tuple(inputs),
            author_is_mine=any(author.get("address") in self.addresses for author in authors),
            author_is_agent=bool(authors) and not any(author.get("authentifiers") for author in authors),
            timestamp_s=timestamp_s if isinstance(timestamp_s, int) else 0,
            disclosed=frozenset(str(author["address"]) for author in authors if "definition" in author),
            has_content="messages" in unit,
        )


def _coin(known: _KnownUnit, output: _Output) -> Coin:
    outpoint, address, asset, amount = output
    return Coin(
        unit=outpoint.unit,
        message_index=outpoint.message_index,
        output_index=outpoint.output_index,
        address=address,
        asset=asset,
        amount=amount,
        is_stable=known.is_stable,
        mci=known.mci,
        author_is_mine=known.author_is_mine,
        author_is_agent=known.author_is_agent,
        seen_s=known.seen_s,
    )


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _payments(unit: Mapping[str, JsonValue]) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """Public payment messages with their index among all messages."""
    messages = unit.get("messages")
    for index, message in enumerate(messages if isinstance(messages, list) else []):
        payload = message.get("payload") if isinstance(message, dict) and message.get("app") == "payment" else None
        if isinstance(payload, dict):
            yield index, payload


def _spent_outpoint(spent: Mapping[str, JsonValue]) -> Outpoint:
    unit, message_index, output_index = spent.get("unit"), spent.get("message_index"), spent.get("output_index")
    return Outpoint(
        str(unit),
        message_index if isinstance(message_index, int) else -1,
        output_index if isinstance(output_index, int) else -1,
    )
