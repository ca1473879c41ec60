from __future__ import annotations

from dataclasses import replace

from shared.channels.exposure import ExposureRules
from shared.channels.model import Channel, ExposureLimits, PackageTerms, PeerUnit, Status, UnconfirmedLimits
from shared.receiving.judging import (
    ChannelAtHand,
    Credited,
    Judge,
    Outcome,
    WatcherSilent,
    assets_to_lock,
    may_be_duplicate,
)
from shared.receiving.outcomes import ChannelView, Refusal
from shared.receiving.verification import SignedPayment
from tests.receiving_support import ROOMY

OWN, PEER, STRANGER = "OWN", "PEER", "STRANGER"
LIMITS = {"base": UnconfirmedLimits(max_by_asset=1000, max_by_channel=800, min_age_s=5)}


def channel(address: str = "AA", **state: object) -> Channel:
    opened = Channel(
        aa_address=address,
        own_address=OWN,
        peer_address=PEER,
        asset="base",
        timeout_s=1000,
        status=Status.OPEN,
        period=1,
        deposited_by_peer=1000,
        definition_confirmed=True,
    )
    return replace(opened, **state)  # type: ignore[arg-type]


def unfunded(address: str, deposit: int, *, age_s: float = 10) -> ChannelAtHand:
    unit = PeerUnit("unit", first_seen_s=100 - age_s, amount=deposit, publishes_definition=True)
    state = channel(address, status=Status.CLOSED, period=0, deposited_by_peer=0, definition_confirmed=False)
    return ChannelAtHand(state, created_by_me=False, units=(unit,))


def package(spent: int, payment: int, address: str = "AA", *, period: int = 1, signer: str = PEER) -> SignedPayment:
    return SignedPayment(PackageTerms(address, period, payment, spent, signer), text=f"{address} {spent} {payment}")


def judge(
    *channels: Channel | ChannelAtHand,
    accepted_before: set[tuple[str, int, int, int]] | None = None,
    exposure: ExposureRules = ROOMY,
) -> Judge:
    locked = [one if isinstance(one, ChannelAtHand) else ChannelAtHand(one, created_by_me=False) for one in channels]
    return Judge(
        {one.channel.aa_address: one for one in locked},
        accepted_before=accepted_before or set(),
        limits=LIMITS,
        exposure=exposure,
        used_of_asset={"base": sum(one.channel.unconfirmed_used for one in locked)},
        now_s=100,
        watcher_silent=False,
    )


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, Refusal)
    return outcome.code


def test_packages_are_judged_on_the_state_that_the_earlier_ones_left() -> None:
    court = judge(channel())
    assert court.judge(package(600, 600), None) == Credited(("AA", 1, 600, 600), duplicate=False)
    assert court.judge(package(1000, 400), None) == Credited(("AA", 1, 1000, 400), duplicate=False)
    assert code(court.judge(package(1001, 1), None)) == "not_funded"
    assert court.channels["AA"].spent_by_peer == 1000
    assert court.channels["AA"].claim == "AA 1000 400"
    assert list(court.payments) == [("AA", 1, 600, 600), ("AA", 1, 1000, 400)]


def test_a_refused_package_leaves_its_neighbours_alone() -> None:
    court = judge(channel(), channel("BB"))
    assert code(court.judge(package(5000, 5000), None)) == "not_funded"
    assert code(court.judge(package(10, 10, signer=STRANGER), None)) == "wrong_signer"
    assert code(court.judge(package(10, 10, "CC"), None)) == "unknown_channel"
    assert isinstance(court.judge(package(10, 10), None), Credited)
    assert isinstance(court.judge(package(10, 10, "BB"), None), Credited)


def test_the_same_package_twice_in_a_batch_is_one_payment() -> None:
    court = judge(channel())
    assert court.judge(package(10, 10), None) == Credited(("AA", 1, 10, 10), duplicate=False)
    assert court.judge(package(10, 10), None) == Credited(("AA", 1, 10, 10), duplicate=True)
    assert len(court.payments) == 1
    assert court.channels["AA"].spent_by_peer == 10


def test_a_package_overtaken_by_a_later_one_is_credited_from_its_credit_and_is_no_claim() -> None:
    court = judge(channel())
    court.judge(package(300, 100), None)
    assert isinstance(court.judge(package(200, 200), None), Credited)
    assert court.channels["AA"].credit == 0
    assert court.channels["AA"].claim == "AA 300 100"


def test_a_duplicate_needs_neither_an_open_channel_nor_a_watcher() -> None:
    before = {("AA", 1, 10, 10)}
    closing = channel(status=Status.CLOSING_BY_PEER, spent_by_peer=10, close_started_at_s=1, claimed_by_peer=10)
    court = Judge(
        {"AA": ChannelAtHand(closing, created_by_me=False)},
        accepted_before=before,
        limits=LIMITS,
        exposure=ROOMY,
        used_of_asset={},
        now_s=100,
        watcher_silent=True,
    )
    assert court.judge(package(10, 10), None) == Credited(("AA", 1, 10, 10), duplicate=True)
    assert court.judge(package(11, 1), None) == WatcherSilent()
    assert court.payments == {}


def test_somebody_elses_signature_gets_no_receipt_of_the_peers_payment() -> None:
    court = judge(channel(spent_by_peer=10), accepted_before={("AA", 1, 10, 10)})
    refusal = court.judge(package(10, 10, signer=STRANGER), None)
    assert code(refusal) == "wrong_signer"
    assert isinstance(refusal, Refusal)
    assert refusal.channel is None


def test_a_refusal_tells_the_peer_how_to_get_back_in_step() -> None:
    court = judge(channel(spent_by_peer=300, credit=20))
    refusal = court.judge(package(300, 21), None)
    assert isinstance(refusal, Refusal)
    assert refusal.channel == ChannelView(period=1, amount_spent=300, credit=20, status="open")
    assert not refusal.awaits_funding


def test_the_limit_of_an_asset_is_shared_by_the_channels_of_a_batch() -> None:
    court = judge(unfunded("AA", 5000), unfunded("BB", 5000))
    assert isinstance(court.judge(package(700, 700, "AA"), None), Credited)
    assert code(court.judge(package(301, 301, "BB"), None)) == "not_funded"
    assert isinstance(court.judge(package(300, 300, "BB"), None), Credited)
    assert code(court.judge(package(701, 1, "AA"), None)) == "not_funded"


def test_a_young_deposit_is_worth_waiting_for_until_it_is_old_enough() -> None:
    court = judge(unfunded("AA", 5000, age_s=2))
    refusal = court.judge(package(10, 10), None)
    assert isinstance(refusal, Refusal)
    assert refusal.awaits_funding
    assert refusal.changes_in_s == 3


def test_assets_are_locked_only_for_packages_beyond_what_is_confirmed() -> None:
    channels = {"AA": ChannelAtHand(channel(), created_by_me=False), "BB": unfunded("BB", 5000)}
    assert assets_to_lock(channels, [package(1000, 1)], LIMITS) == []
    assert assets_to_lock(channels, [package(1000, 1), package(1, 1, "BB"), package(2, 1, "BB")], LIMITS) == ["base"]
    assert assets_to_lock(channels, [package(1, 1, "BB")], {}) == []
    assert assets_to_lock(channels, [package(1, 1, "unknown")], LIMITS) == []


def test_only_what_the_record_covers_can_be_a_duplicate() -> None:
    state = channel(period=2, spent_by_peer=100)
    assert not may_be_duplicate(state, package(101, 1, period=2).terms)
    assert may_be_duplicate(state, package(100, 1, period=2).terms)
    assert may_be_duplicate(state, package(101, 1, period=1).terms)
    assert not may_be_duplicate(state, package(1, 1, period=3).terms)
    assert not may_be_duplicate(state, package(100, 1, period=2, signer=STRANGER).terms)
    closed = replace(state, status=Status.CLOSED, spent_by_peer=0, deposited_by_peer=0)
    assert may_be_duplicate(closed, package(100, 1, period=2).terms)


def test_channels_are_named_that_become_ripe_to_be_closed_by_a_batch() -> None:
    limits = ExposureLimits(max_by_channel=1000, sweep_above=500, max_own_deposit=0, max_total=1000)
    ripe_before = channel("CC", spent_by_peer=500, claim="old")
    court = judge(channel(), channel("BB"), ripe_before, exposure=ExposureRules({"base": limits}))
    court.judge(package(499, 499), None)
    court.judge(package(499, 499, "BB"), None)
    court.judge(package(600, 100, "CC"), None)
    assert court.ripened() == []
    court.judge(package(500, 1, "BB"), None)
    assert court.ripened() == [("BB", 1)]


def test_packages_of_one_batch_do_not_exceed_the_limit_of_their_channel_together() -> None:
    limits = ExposureLimits(max_by_channel=100, sweep_above=100, max_own_deposit=0, max_total=1000)
    court = judge(channel(), exposure=ExposureRules({"base": limits}))
    assert isinstance(court.judge(package(60, 60), None), Credited)
    assert code(court.judge(package(110, 50), None)) == "exposure_limit"
    assert isinstance(court.judge(package(100, 40), None), Credited)


def test_nothing_is_added_to_a_stopped_asset() -> None:
    court = judge(ChannelAtHand(channel(), created_by_me=False, asset_is_stopped=True))
    assert code(court.judge(package(1, 1), None)) == "exposure_limit"
    assert court.payments == {}
