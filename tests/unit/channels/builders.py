"""Channels and packages to test the rules with; every default is the ordinary case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.channels.acceptance import Accepted, Refused, accept
from shared.channels.model import Allowance, Channel, PackageTerms, PeerUnit, Status, UnconfirmedLimits

AGENT = "OXJ2PKKOYESORPIQAWLKTBPJBOP3URE2"
ME = "4LLSURBMWBLF5S6X6NGZZPGK5NZT62V6"
PEER = "WY2BUWUP7NMMG62V4SJJXV4GXKY7TTEB"

LIMITS = UnconfirmedLimits(max_by_asset=5_000, max_by_channel=3_000, min_age_s=5)
NOW = 1_700_000_000.0


def open_channel(**changes: Any) -> Channel:
    channel = Channel(
        aa_address=AGENT,
        own_address=ME,
        peer_address=PEER,
        asset="base",
        timeout_s=1_000,
        status=Status.OPEN,
        period=1,
        deposited_by_peer=100_000,
        last_event_id=1,
        definition_confirmed=True,
    )
    return replace(channel, **changes)


def new_channel(**changes: Any) -> Channel:
    return open_channel(
        **{"status": Status.CLOSED, "period": 0, "deposited_by_peer": 0, "last_event_id": 0}
        | {"definition_confirmed": False}
        | changes
    )


def package(amount_spent: int, payment_amount: int, *, period: int = 1, signer: str = PEER) -> PackageTerms:
    return PackageTerms(
        aa_address=AGENT, period=period, payment_amount=payment_amount, amount_spent=amount_spent, signer=signer
    )


def deposit_unit(amount: int = 50_000, *, age_s: float = 100, **changes: Any) -> PeerUnit:
    return replace(PeerUnit(unit="u" * 43 + "=", first_seen_s=NOW - age_s, amount=amount), **changes)


def allowance(*units: PeerUnit, used_elsewhere: int = 0, limits: UnconfirmedLimits | None = LIMITS) -> Allowance:
    return Allowance(units=units, limits=limits, used_elsewhere=used_elsewhere, now_s=NOW)


def judge(channel: Channel, terms: PackageTerms, standing_behind: Allowance | None = None) -> Accepted | Refused:
    return accept(channel, terms, f"signed:{terms.amount_spent}", standing_behind or allowance())


def accepted(channel: Channel, terms: PackageTerms, standing_behind: Allowance | None = None) -> Channel:
    outcome = judge(channel, terms, standing_behind)
    assert isinstance(outcome, Accepted), outcome
    return outcome.channel


def refused(channel: Channel, terms: PackageTerms, standing_behind: Allowance | None = None) -> str:
    outcome = judge(channel, terms, standing_behind)
    assert isinstance(outcome, Refused), outcome
    assert outcome.channel is channel
    return outcome.rule.value
