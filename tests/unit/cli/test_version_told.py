from __future__ import annotations

import pytest

from sluice.cli.channels import _why_this_version

ADDRESS = "Y3LX7GWZPZIJS4IBJSWO5OO4A3HK2OVE"


@pytest.mark.parametrize(
    ("peer", "version", "told"),
    [
        (ADDRESS, "1.1", "every owner knows this one. If the owner runs Sluice, open with --version 1.2"),
        (ADDRESS, "1.2", "the only one allowed here; its owner may not know it"),
        ("https://shop.example/", "1.2", "the best that is published here and that the peer takes"),
    ],
)
def test_who_opens_a_channel_is_told_why_it_has_its_version(peer: str, version: str, told: str) -> None:
    text = _why_this_version(peer, version)
    assert f"agent version {version}" in text
    assert told in text
