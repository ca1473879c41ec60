"""A receiver of webhooks in a process of its own: `python -m load_tests.webhooks.receiver`; prints its port.

It takes everything at once and keeps count for each path: how many messages, how many of them again, how many after a
later one of their channel, and how long after they happened those came that say when (`happened_s` in their data).
`GET` of a path tells that as JSON. A path that begins with `/hangs` is never answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

_TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Tally:
    """What has come to one path. Times are of the machine's monotonic clock, in seconds."""

    taken: int = 0
    repeated: int = 0
    disordered: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)
    """By channel the number of the newest event."""

    def take(self, event: dict[str, Any]) -> None:
        """Count an event."""
        self.last_s = time.monotonic()
        self.first_s = self.first_s or self.last_s
        self.taken += 1
        if "happened_s" in event["data"]:
            self.latencies_s.append(self.last_s - event["data"]["happened_s"])
        number, channel = int(str(event["id"]).rpartition("-")[2]), str(event["aa_address"])
        newest = self.newest.get(channel, 0)
        self.repeated += number == newest
        self.disordered += number < newest
        self.newest[channel] = max(newest, number)

    def told(self) -> bytes:
        """Return it as an answer."""
        fields = asdict(self)
        del fields["newest"]
        body = json.dumps(fields).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


TALLIES: defaultdict[str, Tally] = defaultdict(Tally)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of a connection, one after the other."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path, _ = head.split(" ", 2)
            if method == "GET":
                writer.write(TALLIES[path].told())
                continue
            length = int(head.lower().partition("content-length:")[2].partition("\r\n")[0])
            body = await reader.readexactly(length)
            if path.startswith("/hangs"):
                await reader.read()  # until the caller hangs up
                return
            TALLIES[path].take(json.loads(body))
            writer.write(_TAKEN)
    except (asyncio.IncompleteReadError, OSError):
        return
    finally:
        writer.close()


async def main() -> None:
    """Serve until the standard input ends."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
