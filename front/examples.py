"""What the OpenAPI document shows as examples: one channel's story, told with the same values everywhere."""

from __future__ import annotations

from typing import Any

AA_ADDRESS = "ARWUPTXKJTNBVXPIKS6LQGXVUQ6B6MLN"
_PEER = "2SATGZDFDXNNJRVZ52O4J6VYTTMO2EZR"
_OWN = "SXRTLWGDY5JC5FJD6E5RGKUWYGE5Q3ZF"
_AT = "2026-01-31T12:00:00+00:00"

CHANNEL: dict[str, Any] = {
    "aa_address": AA_ADDRESS,
    "own_address": _OWN,
    "peer_address": _PEER,
    "asset": "base",
    "timeout_s": 1000,
    "version": "1.1",
    "salt": "3f0c",
    "opened_by": "me",
    "status": "open",
    "period": 1,
    "deposited_by_peer": 0,
    "deposited_by_me": 1_000_000,
    "deposits_on_their_way": 0,
    "spent_by_peer": 0,
    "spent_by_me": 7_000,
    "credit": 0,
    "free_amount": 993_000,
    "possibly_lost": 7_000,
    "at_risk": 993_000,
    "auto_refill": {"amount": 500_000, "threshold": 100_000},
    "peer_url": "https://pay.example/",
    "created_at": _AT,
    "updated_at": _AT,
}
CHANNELS = {"items": [CHANNEL], "next_cursor": AA_ADDRESS}

PAYMENT: dict[str, Any] = {
    "payment_id": 12,
    "aa_address": AA_ADDRESS,
    "period": 1,
    "amount_spent": 42_000,
    "amount": 600,
    "asset": "base",
    "message": {"order": 7},
    "response": "thank you",
    "accepted_at": _AT,
}
PAYMENTS = {"items": [PAYMENT], "next_cursor": "desc-12"}

RECEIPT: dict[str, Any] = {
    "payment_id": 12,
    "amount": 600,
    "asset": "base",
    "aa_address": AA_ADDRESS,
    "period": 1,
    "amount_spent": 42_000,
    "duplicate": False,
}
PACKAGE: dict[str, Any] = {
    "version": "4.0",
    "signed_message": {"payment_amount": 600, "amount_spent": 42_000, "period": 1, "aa_address": AA_ADDRESS},
    "authors": [
        {
            "address": _PEER,
            "authentifiers": {"r": "base64 of the signature"},
            "definition": ["sig", {"pubkey": "base64 of the public key"}],
        }
    ],
    "message": {"order": 7},
}

SENT_PAYMENT: dict[str, Any] = {
    "id": "1-7000",
    "aa_address": AA_ADDRESS,
    "period": 1,
    "amount_spent": 7_000,
    "amount": 7_000,
    "state": "uncertain",
    "message": {"order": 7},
    "response": None,
    "command_id": 31,
    "signed_at": _AT,
    "settled_at": _AT,
}
SENT_PAYMENTS = {"items": [SENT_PAYMENT], "next_cursor": None}

QUEUED: dict[str, Any] = {
    "id": 31,
    "kind": "pay",
    "aa_address": AA_ADDRESS,
    "state": "queued",
    "result": None,
    "error": None,
    "created_at": _AT,
    "started_at": None,
    "finished_at": None,
}
DONE: dict[str, Any] = {
    **QUEUED,
    "state": "succeeded",
    "result": {"period": 1, "amount": 7_000, "amount_spent": 7_000, "response": "thank you", "receipt": None},
    "started_at": _AT,
    "finished_at": _AT,
}
SIGNED: dict[str, Any] = {
    **DONE,
    "kind": "sign",
    "result": {
        "period": 1,
        "amount": 7_000,
        "amount_spent": 7_000,
        "package": {name: part for name, part in PACKAGE.items() if name != "message"},
    },
}

ASKED: dict[str, Any] = {
    "amount": 1_200,
    "memo": "A cup, order 7",
    "metadata": {"order": 7},
    "expires_in_s": 3_600,
    "return_url": "https://shop.example/orders/7",
}
REQUEST: dict[str, Any] = {
    "id": "kQ3vN8wXyZ1aBcDeFgHiJk",
    "url": "https://pay.example/pay/kQ3vN8wXyZ1aBcDeFgHiJk",
    "state": "partially_paid",
    "amount": 1_200,
    "asset": "base",
    "received": 600,
    "received_late": 0,
    "missing": 600,
    "surplus": 0,
    "payments": 1,
    "other_asset_payments": 0,
    "memo": "A cup, order 7",
    "metadata": {"order": 7},
    "public_metadata": None,
    "return_url": "https://shop.example/orders/7",
    "created_at": _AT,
    "expires_at": "2026-01-31T13:00:00+00:00",
    "cancelled_at": None,
}
REQUESTS = {"items": [REQUEST], "next_cursor": "41"}
CANCELLED_REQUEST: dict[str, Any] = {**REQUEST, "state": "cancelled", "cancelled_at": _AT}
REQUEST_TERMS: dict[str, Any] = {
    **{name: REQUEST[name] for name in ("id", "url", "state", "amount", "asset", "received")},
    "due": 600,
    "surplus": 0,
    "other_asset_payments": 0,
    "memo": REQUEST["memo"],
    "metadata": None,
    "return_url": REQUEST["return_url"],
    "created_at": _AT,
    "expires_at": REQUEST["expires_at"],
    "accepts": [
        {
            "scheme": "obyte-channel",
            "network": "mainnet",
            "asset": "base",
            "amount": 600,
            "receiver": _OWN,
            "post_url": "https://pay.example/post",
            "agent_versions": ["1.2", "1.1"],
            "min_timeout_s": 800,
            "max_timeout_s": 1500,
            "min_deposit": 10_001,
            "message": {"request": REQUEST["id"]},
        }
    ],
}
REQUEST_PAYMENTS: dict[str, Any] = {
    "items": [
        {
            "id": 3,
            "rail": "obyte",
            "payment_id": 12,
            "reference": "12",
            "amount": 600,
            "asset": "base",
            "is_counted": True,
            "is_late": False,
            "received_at": _AT,
        }
    ],
    "next_cursor": None,
}

STATEMENT = """\
record,id,accepted_at,aa_address,period,amount_spent,asset,amount,balance,message
opening,,,,,,base,,41400,
payment,12,2026-01-31T12:00:00+00:00,ARWUPTXKJTNBVXPIKS6LQGXVUQ6B6MLN,1,42000,base,600,42000,"{""order"":7}"
closing,,,,,,base,600,42000,
"""
