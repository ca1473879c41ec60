"""The first unit, which makes all the money there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devnet.dag import UnitRecord
from shared.obyte.units import headers_commission, payload_commission, payload_hash, unit_hash, unit_hash_to_sign

if TYPE_CHECKING:
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

TOTAL_BYTES = 10**15
PROVIDER_BYTES = 10**13
"""What the order provider lives on: enough for ten thousand million of its units."""


def genesis_record(network: Network, provider: KeyPair, faucet_address: str, timestamp_s: int) -> UnitRecord:
    """Return the genesis unit: the provider gets its working capital and the faucet everything else."""
    unit: dict[str, Any] = {
        "version": network.version,
        "alt": network.alt,
        "timestamp": timestamp_s,
        "authors": [{"address": provider.address, "authentifiers": {"r": "-" * 88}, "definition": provider.definition}],
        "messages": [_issue(provider.address, faucet_address, TOTAL_BYTES - PROVIDER_BYTES)],
    }
    fees = headers_commission(unit, network) + payload_commission(unit, network)
    unit["messages"] = [_issue(provider.address, faucet_address, TOTAL_BYTES - PROVIDER_BYTES - fees)]
    unit["authors"][0]["authentifiers"] = {"r": provider.sign(unit_hash_to_sign(unit, network))}
    unit["headers_commission"] = headers_commission(unit, network)
    unit["payload_commission"] = payload_commission(unit, network)
    unit["unit"] = unit_hash(unit, network)
    return UnitRecord(
        hash=unit["unit"],
        unit=unit,
        authors=(provider.address,),
        parents=(),
        level=0,
        best_parent=None,
        witnessed_level=0,
        provider_count=1,
        timestamp_s=timestamp_s,
        last_ball_mci=0,
        is_provider=True,
    )


def _issue(provider_address: str, faucet_address: str, faucet_bytes: int) -> JsonValue:
    outputs = sorted([(provider_address, PROVIDER_BYTES), (faucet_address, faucet_bytes)])
    payload: JsonValue = {
        "inputs": [{"type": "issue", "serial_number": 1, "amount": TOTAL_BYTES}],
        "outputs": [{"address": address, "amount": amount} for address, amount in outputs],
    }
    return {"app": "payment", "payload_location": "inline", "payload_hash": payload_hash(payload), "payload": payload}
