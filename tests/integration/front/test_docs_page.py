"""The description for people: a page whose every part comes from this server."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

if TYPE_CHECKING:
    import httpx

    from tests.integration.front.conftest import Front

ANOTHER_ORIGIN = re.compile(r"https?:|wss?:|//")
PART = re.compile(r'(?:href|src)="([^"]*)"')
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
WANTED_BY_A_STYLE_SHEET = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s]{1,12})""")


@pytest.fixture
async def page(front: Front) -> httpx.Response:
    return await front.http.get("/docs")


def policy(page: httpx.Response) -> dict[str, list[str]]:
    directives = (part.split() for part in page.headers["content-security-policy"].split(";"))
    return {name: sources for name, *sources in directives}


async def test_the_page_names_no_other_origin(page: httpx.Response) -> None:
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert not ANOTHER_ORIGIN.search(page.text)


async def test_who_opens_the_bare_address_is_led_to_the_page(front: Front) -> None:
    led = await front.http.get("/")
    assert led.is_redirect
    assert urljoin("https://pay.example/sluice/", led.headers["location"]) == "https://pay.example/sluice/docs"


async def test_every_part_of_the_page_is_served_here(front: Front, page: httpx.Response) -> None:
    parts = PART.findall(page.text)
    assert len(parts) == 3
    for part in parts:
        answer = await front.http.get(urljoin("/docs", part))
        assert answer.status_code == 200
        assert len(answer.content) > 100
        if answer.headers["content-type"].startswith("text/css"):
            assert set(WANTED_BY_A_STYLE_SHEET.findall(answer.text)) <= {"data:image/p", "data:image/j", "data:image/s"}


async def test_the_page_shows_the_description_of_this_server(front: Front, page: httpx.Response) -> None:
    [script] = SCRIPT.findall(page.text)
    [description] = re.findall(r'url: "([^"]*)"', script)
    assert (await front.http.get(urljoin("/docs", description))).json()["info"]["title"] == "Sluice"


async def test_the_browser_is_told_to_contact_nobody_else(page: httpx.Response) -> None:
    allowed = policy(page)
    assert allowed["default-src"] == ["'none'"]
    [script] = SCRIPT.findall(page.text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert allowed["script-src"] == ["'self'", f"'sha256-{digest}'"]
    sources = {source for name, sources in allowed.items() if name != "script-src" for source in sources}
    assert sources == {"'none'", "'self'", "'unsafe-inline'", "data:"}


async def test_the_frameworks_own_pages_which_load_from_elsewhere_are_off(front: Front) -> None:
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert (await front.http.get(path)).status_code == 404
