"""What payers hold against what the receiver tells anybody with a key that reads: its public REST door, no database."""

from __future__ import annotations

import csv
import http.client
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from load_tests.faults.payers import LoadChannel, Package

ANSWER_S = 30.0
_MOST_TOLD = 20


class DoorError(Exception):
    """The receiver does not answer what it is asked."""


@dataclass(slots=True)
class Books:
    """Counts and sums (bytes) of both sides. `faults`: where they differ; an empty list is a pass."""

    channels: int = 0
    receipts: int = 0
    receipts_found: int = 0
    paid: int = 0
    credited: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Note one; of very many the first ones are enough."""
        if len(self.faults) < _MOST_TOLD:
            self.faults.append(text)


class Door:
    """The receiver's REST door, for one holder of a key."""

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def get(self, path: str, accept: str = "application/json") -> str:
        """Return the text of an answer. Raises DoorError."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_S)
        try:
            connection.request("GET", path, headers={**self._headers, "Accept": accept})
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise DoorError(f"{path}: {type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise DoorError(f"{path}: {answer.status} {text[:200]}")
        return text

    def terms(self) -> dict[str, Any]:
        """Return on which terms channels can be opened."""
        terms: dict[str, Any] = json.loads(self.get("/v1/terms"))
        return terms

    def payments(self, channel: str) -> list[dict[str, str]]:
        """Return all payments of a channel, the fields as text."""
        rows = csv.DictReader(io.StringIO(self.get(f"/v1/payments?channel={channel}", "text/csv")))
        return [row for row in rows if row["record"] == "payment"]

    def channel(self, address: str) -> dict[str, Any]:
        """Return a channel as it stands."""
        shown: dict[str, Any] = json.loads(self.get(f"/v1/channels/{address}"))
        return shown


def compare(door: Door, channels: Sequence[LoadChannel]) -> Books:
    """Look for every receipt, for payments that nobody has made, and compare the sums. Raises DoorError."""
    books = Books()
    for channel in channels:
        books.channels += 1
        _compare(books, channel, door.payments(channel.aa_address), door.channel(channel.aa_address))
    return books


def _compare(books: Books, channel: LoadChannel, rows: list[dict[str, str]], shown: dict[str, Any]) -> None:
    signed = {_key_of(package): package for package in channel.packages}
    credited: Counter[tuple[int, int, int]] = Counter()
    ids: dict[tuple[int, int, int], int] = {}
    for row in rows:
        key = int(row["period"]), int(row["amount_spent"]), int(row["amount"])
        credited[key] += 1
        ids[key] = int(row["id"])
        books.credited += int(row["amount"])
        if key not in signed:
            books.fault(f"{channel.aa_address}: a payment that nobody has signed: {key}")
    for key, package in signed.items():
        if credited[key] > 1:
            books.fault(f"{channel.aa_address}: credited {credited[key]} times: {key}")
        if package.receipt is None:
            continue
        books.receipts += 1
        books.paid += package.amount
        if ids.get(key) == package.receipt.get("payment_id"):
            books.receipts_found += 1
        else:
            books.fault(
                f"{channel.aa_address}: receipt {package.receipt.get('payment_id')}, payment {ids.get(key)}: {key}"
            )
    booked = shown["spent_by_peer"] - shown["credit"]
    if booked != channel.paid:
        books.fault(f"{channel.aa_address}: receipts of {channel.paid}, the channel says {booked}")


def _key_of(package: Package) -> tuple[int, int, int]:
    return package.period, package.amount_spent, package.amount
