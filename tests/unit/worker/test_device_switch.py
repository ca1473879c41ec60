"""`SLUICE_DEVICE_MESSAGES`: whether this installation can be reached by device messages at all."""

from __future__ import annotations

from shared.obyte.keys import KeyPair
from shared.settings import Settings
from worker.thread import RuntimeThread

KEY = KeyPair(bytes([7]) * 32)
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


async def test_switched_off_there_is_no_device() -> None:
    thread = RuntimeThread(Settings(database_url=NOWHERE, device_messages=False), lambda: None)
    assert await thread._make_device(KEY, None) is None


async def test_by_default_there_is_one_with_the_name_of_the_settings() -> None:
    thread = RuntimeThread(Settings(database_url=NOWHERE, device_name="Till 3"), lambda: None)
    device = await thread._make_device(KEY, None)
    assert device is not None
    assert (device.key, device.settings.device_name) == (KEY, "Till 3")
    await device.database.close()
