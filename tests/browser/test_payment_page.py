"""The page of a payment request in a real browser: it changes as payments come, and works without scripts too."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.integration.requests.conftest import database, shop, teller, worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Request as PageRequest

    from tests.integration.requests.support import Shop

__all__ = ["database", "shop", "teller", "worker"]

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SHOTS = os.environ.get("PAGE_SHOTS")
"""A directory for pictures of the page, to be looked at by people."""
WAIT_MS = 10_000

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt-get install chromium)"
    ),
    pytest.mark.filterwarnings("default::ResourceWarning"),
]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Without a sandbox of its own: tests may run as root, and only our page is shown.
        running = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield running
        await running.close()


class Seen:
    """A page that is open, what it has loaded from where, and what the browser has complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        page.on("request", self._asked)
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _asked(self, request: PageRequest) -> None:
        self.hosts.add(request.url.split("/")[2])

    async def until(self, state: str) -> None:
        await self.page.wait_for_selector(f'main[data-state="{state}"]', timeout=WAIT_MS)

    async def shoot(self, name: str) -> None:
        if SHOTS is not None:
            await self.page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


async def opened(browser: Browser, shop: Shop, request_id: str, **look: Any) -> Seen:
    context = await browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **look})
    seen = Seen(await context.new_page())
    await seen.page.goto(f"{str(shop.fronts[0].base_url).rstrip('/')}/pay/{request_id}")
    return seen


async def test_the_page_changes_as_payments_come(browser: Browser, shop: Shop) -> None:
    made = await shop.ask(
        memo="A cup with a blue rim, order 7", expires_in_s=3_000, return_url="https://shop.example/orders/7"
    )
    seen = await opened(browser, shop, made["id"], color_scheme="light")
    await seen.page.wait_for_selector("#link:not([hidden])", timeout=WAIT_MS)
    assert await seen.page.inner_text("#title") == "Waiting for payment"
    assert await seen.page.is_visible(".qr")
    await seen.shoot("open_light")
    await shop.pay(made["id"], 500)
    await seen.until("partially_paid")
    assert "700 to go" in await seen.page.inner_text("#detail")
    assert await seen.page.inner_text("#amount") == "700"
    await seen.shoot("partly_light")
    await shop.pay(made["id"], 700, payer=1)
    await seen.until("paid")
    assert not await seen.page.is_visible(".qr")
    assert await seen.page.is_visible("text=Back to shop.example")
    await seen.shoot("paid_light")
    assert seen.hosts == {shop.fronts[0].base_url.netloc.decode()}
    assert seen.complaints == []


async def test_the_page_fits_a_phone_in_the_dark_and_is_used_by_keyboard(browser: Browser, shop: Shop) -> None:
    made = await shop.ask(memo="Zwei Tassen\nund ein Löffel", amount=1_234_567_890, expires_in_s=86_000)
    await shop.pay(made["id"], 9, payer=2)
    phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "device_scale_factor": 2}
    seen = await opened(browser, shop, made["id"], **phone)
    await seen.page.wait_for_selector("#link:not([hidden])", timeout=WAIT_MS)
    assert await seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    reached = []
    for _ in range(6):
        await seen.page.keyboard.press("Tab")
        reached.append(await seen.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"command", "copy", "SUMMARY"} <= set(reached)
    await seen.page.focus("summary")
    await seen.page.keyboard.press("Enter")
    assert await seen.page.is_visible(f'text={{"request": "{made["id"]}"}}')
    await seen.shoot("phone_dark")
    assert seen.complaints == []


async def test_without_scripts_the_page_shows_the_same_after_a_reload(browser: Browser, shop: Shop) -> None:
    made = await shop.ask()
    seen = await opened(browser, shop, made["id"], java_script_enabled=False, color_scheme="dark")
    assert await seen.page.inner_text("#title") == "Waiting for payment"
    assert await seen.page.is_hidden("#copy")
    assert await seen.page.locator('meta[http-equiv="refresh"]').count() == 1
    await shop.pay(made["id"], 1_300)
    await seen.page.reload()
    assert await seen.page.inner_text("#title") == "Paid, and more"
    assert "100 more than asked for" in await seen.page.inner_text("#detail")
    await seen.shoot("over_noscript")


async def test_a_page_that_finds_no_place_to_be_live_shows_the_state_anew(browser: Browser, shop: Shop) -> None:
    made = await shop.ask()
    context = await browser.new_context()
    seen = Seen(await context.new_page())
    await seen.page.route("**/events", lambda route: route.fulfill(status=503, body="{}"))
    await seen.page.clock.install()
    async with seen.page.expect_response("**/events", timeout=WAIT_MS):
        await seen.page.goto(f"{str(shop.fronts[0].base_url).rstrip('/')}/pay/{made['id']}")
    await shop.pay(made["id"], 1_200)
    assert await seen.page.inner_text("#title") == "Waiting for payment"
    await seen.page.clock.run_for(20_000)
    await seen.until("paid")
