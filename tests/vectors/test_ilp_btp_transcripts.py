"""What a real listener answered, frame by frame, replayed on our side of the same connection."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.interledger.btp import refusals
from shared.interledger.btp.connection import BtpConnection
from shared.interledger.btp.events import (
    Close,
    DataRequested,
    Event,
    LoginRequested,
    Send,
    TransferRequested,
)
from shared.interledger.btp.frames import Error, Response, decode_frame
from shared.interledger.btp.subprotocols import CLAIM, ilp_of
from shared.interledger.errors import PeerRequestError
from shared.interledger.ildcp import AccountDetails, check_config_request, config_response
from shared.interledger.packets import Fulfill, decode_prepare, encode_packet
from tests.vectors.ilp_vectors import Case, cases, label

NOW = datetime(2026, 11, 20, tzinfo=UTC)
MONEY_METHOD_THROWS = "money method throws "

# Two rules of ours differ from that of the multi-account server; the single one has them as we do.
DIFFER = {
    "message without ilp is refused": "a MESSAGE that we do not know gets an empty RESPONSE (BTP-17)",
    "transfer is refused": "a TRANSFER is the owner's to judge",
}


class Listener:
    """The owner of a connection: what the reference's test server does."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.connection = BtpConnection("server", now_s=0.0, utc=lambda: NOW, reads=frozenset({CLAIM}))
        self.sent: list[bytes] = []
        self.closed = False
        self.account = ""

    def receive(self, message: bytes | str) -> None:
        for event in self.connection.receive(message):
            self._handle(event)

    def _handle(self, event: Event) -> None:
        match event:
            case Send():
                self.sent.append(event.frame)
            case Close():
                self.closed = True
            case LoginRequested():
                self._log_in(event)
            case DataRequested():
                self.sent.append(self._answer(event))
            case TransferRequested():
                self.sent.append(self._transfer(event))

    def _log_in(self, event: LoginRequested) -> None:
        login = event.login
        self.account = login.account_of_token
        secret = self.case["in"].get("secret")
        if secret is None:  # many accounts: each token names its own
            accepted = login.token != b"" and login.username in ("", self.account)
        else:
            accepted = login.has_token(secret.encode())
        for answer in self.connection.accept() if accepted else self.connection.reject("invalid auth_token"):
            self._handle(answer)

    def _answer(self, event: DataRequested) -> bytes:
        if self.case["name"] in ("no data handler", "data handler throws"):
            return self.connection.refuse(event.request_id, "Error", "no")
        prepare = decode_prepare(event.data)
        try:
            check_config_request(prepare, NOW)
        except PeerRequestError:
            data = b"host" if "address" in self.case["in"] else b""
            return self.connection.respond_data(event.request_id, encode_packet(Fulfill(bytes(32), data)))
        details = AccountDetails(f"{self.case['in']['address']}.{self.account}", 9, "GBYTE")
        return self.connection.respond_data(event.request_id, encode_packet(config_response(details)))

    def _transfer(self, event: TransferRequested) -> bytes:
        if self.case["name"].startswith(MONEY_METHOD_THROWS):
            name = self.case["name"].removeprefix(MONEY_METHOD_THROWS)
            return self.connection.refuse(event.request_id, name, "because")
        return self.connection.respond(event.request_id)


@pytest.mark.parametrize(
    "case",
    [case for case in (*cases("btp_rpc", "server"), *cases("mini_accounts", "server")) if case["name"] not in DIFFER],
    ids=label,
)
def test_a_transcript(case: Case) -> None:
    listener = Listener(case)
    for frame in case["in"]["frames"]:
        listener.receive(frame["text"] if "text" in frame else bytes.fromhex(frame["frame"]))
    sent = [decode_frame(octets) for octets in listener.sent]
    assert listener.closed == case["out"]["closedByServer"]
    expected = [frame["decoded"] for frame in case["out"]["frames"]]
    assert [frame.request_id for frame in sent] == [frame["requestId"] for frame in expected]
    for frame, wanted in zip(sent, expected, strict=True):
        if wanted["type"] == 1:
            assert isinstance(frame, Response)
            ilp = ilp_of(frame.entries)
            data = [entry["data"] for entry in wanted["protocolData"]]
            assert [ilp.hex()] == data if ilp else not data
        else:
            assert isinstance(frame, Error)
            assert (frame.code, frame.triggered_at) == (wanted["code"], NOW)
            if wanted["name"] in refusals.CODES:
                assert frame.name == wanted["name"]


def test_what_differs_is_named_and_is_there() -> None:
    assert set(DIFFER) <= {case["name"] for case in cases("mini_accounts")}
