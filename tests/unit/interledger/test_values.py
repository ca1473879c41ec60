from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil

import pytest

import shared.interledger
from shared.interledger.btp.reconnecting import Reconnecting

MODULES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(shared.interledger.__path__, "shared.interledger.")
]
VALUES = sorted(
    {
        member
        for module in MODULES
        for _, member in inspect.getmembers(module, dataclasses.is_dataclass)
        if isinstance(member, type) and member.__module__.startswith("shared.interledger")
    },
    key=lambda cls: cls.__qualname__,
)
CHANGE = {Reconnecting}


@pytest.mark.parametrize("cls", VALUES, ids=lambda cls: cls.__qualname__)
def test_what_goes_from_hand_to_hand_never_changes(cls: type) -> None:
    assert cls.__dataclass_params__.frozen == (cls not in CHANGE)  # type: ignore[attr-defined]
    assert "__slots__" in cls.__dict__
