from __future__ import annotations

import json
from typing import Any

import pytest

from shared.agent.packages import ChannelTerms, PaymentSigner
from shared.channels.errors import InsufficientFundsError
from shared.channels.model import Channel, Status
from shared.channels.paying import create_payment
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.receiving.verification import verify_payment_package
from shared.strict_json import decode
from sluice.payer.signing import OfflineChannel, pay_request

KEY = KeyPair(b"\7" * 32)
AA_ADDRESS = "4LLSURBMWBLF5S6X6NGZZPGK5NZT62V6"


@pytest.fixture
def signer() -> PaymentSigner:
    return PaymentSigner(KEY, DEVNET)


@pytest.fixture
def channel() -> Channel:
    peer = "WY2BUWUP7NMMG62V4SJJXV4GXKY7TTEB"
    return Channel(AA_ADDRESS, KEY.address, peer, "base", 1000, status=Status.OPEN, period=3, deposited_by_me=1_000)


def test_our_own_receiver_takes_what_is_signed(signer: PaymentSigner, channel: Channel) -> None:
    signed = signer.sign(create_payment(channel, 10))
    payment = verify_payment_package(decode(signed.package.encode()), DEVNET)
    assert payment.terms.key == (AA_ADDRESS, 3, 10, 10)
    assert payment.terms.signer == KEY.address


def test_parameters_are_announced_on_demand_and_without_a_url(signer: PaymentSigner, channel: Channel) -> None:
    terms = ChannelTerms(KEY.address, "base", 1000, "1.1", None)
    signed = signer.sign(create_payment(channel, 10), terms)
    announced = json.loads(signed.package)["signed_message"]["channel_parameters"]
    assert announced == {"address": KEY.address, "asset": "base", "timeout": 1000, "version": "1.1"}


def test_an_offline_channel_signs_one_payment_after_the_other(signer: PaymentSigner, channel: Channel) -> None:
    offline = OfflineChannel(channel, signer)
    assert [offline.sign(amount).amount_spent for amount in (1, 2, 3)] == [1, 3, 6]
    with pytest.raises(InsufficientFundsError):
        offline.sign(995)
    assert offline.channel.spent_by_me == 6


@pytest.mark.parametrize("message", [None, '"hello"', '{"a":[1]}'])
def test_a_request_holds_the_very_bytes_of_the_package(signer: PaymentSigner, channel: Channel, message: Any) -> None:
    package = signer.sign(create_payment(channel, 10)).package
    body = pay_request(package, message, tag="t", timestamp_ms=5)
    assert package.encode() in body
    request: Any = decode(body)
    assert request["params"].get("message") == (None if message is None else json.loads(message))
    assert (request["command"], request["tag"], request["timestamp"]) == ("pay", "t", 5)


def test_packages_stay_out_of_reprs(signer: PaymentSigner, channel: Channel) -> None:
    shown = repr(signer.sign(create_payment(channel, 10))) + repr(signer)
    assert "signed_message" not in shown
    assert "authentifiers" not in shown
    assert (b"\7" * 32).hex() not in shown
