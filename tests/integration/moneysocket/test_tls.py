"""TLS between a consumer and a provider that listens, without a proxy."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moneysocket_support import BOLT11, SEED

from shared.moneysocket.stacks import ConsumerStack, DialFailed, ListenAt
from tests.integration.moneysocket.stack_support import PATIENCE_S, QUICK, Wallet, heard, soon

if TYPE_CHECKING:
    from pathlib import Path


async def test_tls_is_spoken_directly_and_certificates_are_verified(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    trusting = dataclasses.replace(QUICK, tls=ssl.create_default_context(cafile=certificate))
    async with Wallet().stack() as provider, ConsumerStack(trusting) as one, ConsumerStack(QUICK) as other:
        await provider.listen(ListenAt(certificate=certificate, key=key))
        provider.accept(SEED)
        beacon = provider.beacon(SEED)
        assert beacon.websockets[0].url.startswith("wss://127.0.0.1:")
        failed = heard(other, DialFailed)
        other.connect(beacon)
        assert "certificate verify failed" in (await soon(failed)).text
        connection = one.connect(beacon)
        await connection.announced(PATIENCE_S)
        assert await connection.invoice(1) == f"{BOLT11}1"


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wallet")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
