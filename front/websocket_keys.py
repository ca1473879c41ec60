"""API keys of WebSockets: in the header, or among the subprotocols, since pages in browsers can set no header.

    new WebSocket("wss://pay.example/rpc", ["sluice", "bearer.KEY"])

The server chooses `sluice`, which has to be offered beside the key: what it chooses goes back in the answer, and the
key does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

SUBPROTOCOL = "sluice"
_BEARER = "bearer."


def authorization_of(websocket: WebSocket) -> str | None:
    """Return what the header `Authorization` says, or would say if it could be set."""
    offered: list[str] = websocket.scope.get("subprotocols", [])
    header = websocket.headers.get("authorization")
    if header is not None or SUBPROTOCOL not in offered:
        return header
    return next((f"Bearer {name.removeprefix(_BEARER)}" for name in offered if name.startswith(_BEARER)), None)


def subprotocol_of(websocket: WebSocket) -> str | None:
    """Return the subprotocol to accept."""
    return SUBPROTOCOL if SUBPROTOCOL in websocket.scope.get("subprotocols", []) else None
