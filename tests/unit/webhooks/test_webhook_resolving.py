from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from shared.webhooks.resolving import Resolver


async def test_a_name_leads_to_its_addresses_each_once() -> None:
    resolver = Resolver()
    assert "127.0.0.1" in await resolver("localhost")
    assert await resolver("::1") == ["::1"]
    with pytest.raises(OSError, match=r".+"):
        await resolver("nobody.invalid")
    resolver.close()


async def test_names_that_are_never_answered_leave_the_threads_of_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def hangs(*_: Any, **__: Any) -> list[Any]:
        answered.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    resolver = Resolver()
    asked = [asyncio.create_task(resolver(f"{number}.example")) for number in range(40)]
    await asyncio.sleep(0)
    try:
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
    finally:
        answered.set()
        await asyncio.gather(*asked)
        resolver.close()
