from __future__ import annotations

import pytest

from shared.webhooks.addresses import AddressGuard, is_public, read_url
from shared.webhooks.errors import ForbiddenAddressError, InvalidUrlError, UnknownHostError

PUBLIC = "93.184.216.34"


def _guard(*addresses: str, networks: tuple[str, ...] = ()) -> AddressGuard:
    async def known(_: str) -> list[str]:
        return list(addresses)

    return AddressGuard(networks, known)


@pytest.mark.parametrize(
    "address", [PUBLIC, "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "10.0.0.5", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1", "192.88.99.1", "203.0.113.7",
        "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1",  # noqa: S104
        "::1", "::", "fe80::1", "fe80::1%eth0", "fec0::1", "fd00::1", "fd00:ec2::254", "ff02::1", "ff0e::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0:7f00:1", "::7f00:1", "::5db8:d822",
        "2002:7f00:1::", "2002:5db8:d822::", "2001::1", "2001:0:5db8:d822::1", "2001:db8::1", "3fff::1", "100::1",
        "64:ff9b::7f00:1", "64:ff9b::a00:5", "64:ff9b::a9fe:a9fe", "64:ff9b:1::5db8:d822", "4000::1", "5f00::1",
        "2606:2800:220:1:248:1893:25c8:1946%1", "nonsense", "", "127.1", "2130706433", "0x7f000001", "0177.0.0.1",
    ],
)  # fmt: skip
def test_addresses_that_only_we_can_reach(address: str) -> None:
    assert not is_public(address)


async def test_every_address_of_a_name_is_looked_at() -> None:
    assert await _guard(PUBLIC, "93.184.216.35").addresses("shop.example") == [PUBLIC, "93.184.216.35"]
    for addresses in [("127.0.0.1",), (PUBLIC, "10.0.0.1"), (PUBLIC, "::1"), (PUBLIC,) * 17]:
        with pytest.raises(ForbiddenAddressError):
            await _guard(*addresses).addresses("shop.example")


async def test_a_name_that_leads_nowhere_is_unknown_and_not_forbidden() -> None:
    async def unknown(_: str) -> list[str]:
        raise OSError("no such host")

    for guard in [AddressGuard(resolve=unknown), _guard()]:
        with pytest.raises(UnknownHostError):
            await guard.addresses("shop.invalid")


async def test_an_address_in_place_of_a_name_is_looked_at_like_one() -> None:
    for host in ["127.0.0.1", "::1", "127.1", "2130706433", "0x7f000001"]:
        with pytest.raises((ForbiddenAddressError, UnknownHostError)):
            await AddressGuard().addresses(host)


async def test_allowed_networks_are_allowed_and_nothing_beside_them() -> None:
    networks = ("10.1.0.0/16", "fd00::/64")
    for address in ["10.1.2.3", "fd00::5", "::ffff:10.1.2.3", PUBLIC]:
        assert await _guard(address, networks=networks).addresses("shop.internal") == [address]
    for address in ["10.2.0.1", "127.0.0.1", "fd00:0:0:1::5", "169.254.169.254", "64:ff9b::a01:203"]:
        with pytest.raises(ForbiddenAddressError):
            await _guard(address, networks=networks).addresses("shop.internal")


async def test_no_setting_allows_what_is_no_server() -> None:
    everything = ("0.0.0.0/0", "::/0")
    for address in ["0.0.0.0", "224.0.0.1", "::", "ff02::1", "fe80::1%eth0"]:  # noqa: S104
        with pytest.raises(ForbiddenAddressError):
            await _guard(address, networks=everything).addresses("shop.internal")


async def test_what_is_sent_in_clear_stays_in_the_allowed_networks() -> None:
    networks = ("10.1.0.0/16",)
    assert await _guard("10.1.2.3", networks=networks).addresses("shop.internal", is_plain=True)
    for addresses in [(PUBLIC,), ("10.1.2.3", PUBLIC)]:
        with pytest.raises(ForbiddenAddressError):
            await _guard(*addresses, networks=networks).addresses("shop.example", is_plain=True)


def test_http_needs_allowed_networks() -> None:
    assert AddressGuard(("10.0.0.0/8",)).read("http://shop.internal/").is_plain
    with pytest.raises(InvalidUrlError, match=r"must start with https:// \(or see SLUICE_WEBHOOK_ALLOWED_NETWORKS\)$"):
        AddressGuard().read("http://shop.internal/")
    with pytest.raises(InvalidUrlError, match=r"must start with https://$"):
        AddressGuard().read("shop.internal")


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://Shop.Example/a/b?c=d", "shop.example", 443, "/a/b?c=d", "shop.example"),
        ("https://shop.example:8443", "shop.example", 8443, "/", "shop.example:8443"),
        ("https://shop.example?x=1", "shop.example", 443, "/?x=1", "shop.example"),
        ("http://my_app:80/", "my_app", 80, "/", "my_app"),
        ("http://127.0.0.1:8000/x", "127.0.0.1", 8000, "/x", "127.0.0.1:8000"),
        ("https://[2001:DB8::1]:8443/", "2001:db8::1", 8443, "/", "[2001:db8::1]:8443"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
    ],
)
def test_what_a_url_names(url: str, host: str, port: int, path: str, authority: str) -> None:
    target = read_url(url, allows_http=True)
    assert (target.host, target.port, target.path, target.authority) == (host, port, path, authority)
    assert read_url(str(target), allows_http=True) == target


@pytest.mark.parametrize(
    "url",
    [
        "", "shop.example", "ftp://shop.example/", "file:///etc/passwd", "gopher://shop.example:6379/_x",
        "https://", "https:///x", "https://:443/", "https://user@shop.example/", "https://user:pw@shop.example/",
        "https://shop.example@10.0.0.1/", "https://shop.example/#x", "https://shop.example/#",
        "https://shop.example:22/", "https://shop.example:80/", "http://shop.example:443/", "https://shop.example:0/",
        "https://shop.example:70000/", "https://shop.example:x/", "https://shop example/", "https://shop.example/a b",
        "https://shop.example/\r\nx: y", "https://sh\top.example/", "https://shop.example\\@10.0.0.1/",
        "https://b\u00fccher.example/", "https://shop..example/", "https://shop.example./", "https://-shop.example/",
        "https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/", "https://0x7f000001/", "https://1.2.3.4.5/",
        "https://[fe80::1%25eth0]/", "https://[::1/", "https://[v1.x]/", "https://[127.0.0.1]/",
        "https://[::ffff:127.0.0.1]/", "https://%31%32%37.0.0.1/", "https://shop.example/" + "a" * 2048,
        "https://shop.example/a\\b", "https://" + "a." * 130 + "example/",
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(InvalidUrlError):
        read_url(url, allows_http=True)


def test_a_refusal_does_not_repeat_the_url() -> None:
    with pytest.raises(InvalidUrlError) as refused:
        read_url("https://user:hunter2@shop.example/")
    assert "hunter2" not in str(refused.value)
