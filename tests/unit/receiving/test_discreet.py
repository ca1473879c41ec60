from __future__ import annotations

import asyncio

import msgspec
import pytest
from rich.pretty import pretty_repr

from shared.channels.model import PackageTerms
from shared.receiving import plain_payments
from shared.receiving.acceptance import _Submission
from shared.receiving.outcomes import Receipt
from shared.receiving.plain_payments import PlainPayment
from shared.receiving.verification import SignedPayment
from shared.store.payments import NewPayment

SECRET = "not to be seen"
TERMS = PackageTerms("A", 1, 2, 3, "S")
REQUEST = msgspec.convert(
    {
        "command": "pay",
        "params": {
            "signed_package": {
                "version": SECRET,
                "signed_message": {"payment_amount": 1, "amount_spent": 1, "period": 1, "aa_address": SECRET},
                "authors": [
                    {"address": "A", "authentifiers": {"r": SECRET}, "definition": ["sig", {"pubkey": SECRET}]},
                ],
            },
        },
    },
    plain_payments._Request,
)


@pytest.mark.parametrize(
    "value",
    [
        Receipt(1, "A", "base", 1, 1, 1, message=SECRET, response=SECRET),
        SignedPayment(TERMS, None, SECRET),
        NewPayment("A", 1, 2, 3, SECRET),
        PlainPayment(TERMS, SECRET, SECRET, SECRET, 1),
        REQUEST,
        REQUEST.params,
        REQUEST.params.signed_package,
        REQUEST.params.signed_package.authors[0],
        REQUEST.params.signed_package.authors[0].authentifiers,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_must_not_be_seen_is_not_shown(value: msgspec.Struct) -> None:
    assert SECRET not in repr(value)
    assert SECRET not in pretty_repr(value)
    assert type(value).__name__ in repr(value)


async def test_what_waits_for_its_batch_is_not_shown() -> None:
    answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    waiting = _Submission(SignedPayment(TERMS, None, SECRET), SECRET, answer)  # type: ignore[arg-type]
    assert SECRET not in repr(waiting) + pretty_repr(waiting)


def test_what_may_be_seen_is() -> None:
    assert repr(NewPayment("A", 1, 2, 3, SECRET)) == (
        "NewPayment(aa_address='A', period=1, amount_spent=2, payment_amount=3)"
    )
