"""What a real connector did with two accounts, step by step, done again by our rules."""

from __future__ import annotations

from typing import Any

import pytest

from shared.interledger.balances import Balance, BalanceError, BalanceTerms
from tests.vectors.ilp_vectors import Case, cases, label

# Ours never refuse money that is here, and refuse what may not be sent before it is sent.
MONEY_REFUSED = "incoming money beyond the minimum is refused by an exception"
PAID_AND_REJECTED = "outgoing below the minimum: bob is paid, alice gets a reject"


def _terms(account: dict[str, Any]) -> BalanceTerms:
    given = {name: int(text) for name, text in account.get("balance", {}).items()}
    limit = account.get("maxPacketAmount")
    return BalanceTerms(
        maximum=given.get("maximum"),
        minimum=given.get("minimum"),
        settle_below=given.get("settleThreshold"),
        settle_to=given.get("settleTo", 0),
        max_packet_amount=None if limit is None else int(limit),
    )


class Connector:
    """Two accounts, and the other one's plugin as the next hop."""

    def __init__(self, accounts: dict[str, Any]) -> None:
        self.accounts = {name: Balance(_terms(account)) for name, account in accounts.items()}
        self.calls: list[tuple[str, str, str]] = []
        for name in self.accounts:
            self._settle(name)
        self.calls.clear()

    def prepare(self, step: dict[str, Any]) -> str:
        amount, payer = int(step["amount"]), step["from"]
        (payee,) = self.accounts.keys() - {payer}
        try:
            self.accounts[payer] = self.accounts[payer].prepared(amount)
        except BalanceError as error:
            return {"over_maximum": "T04", "over_packet_maximum": "F08"}[error.code]
        try:
            self.accounts[payee].check_sending(amount)
        except BalanceError:
            self.accounts[payer] = self.accounts[payer].released(amount)
            return "T04"
        self.calls.append(("sendData", payee, str(amount)))
        if "reply" in step:
            self.accounts[payer] = self.accounts[payer].released(amount)
            return {"reject": "F99", "T04": "T04", "throw": "F02", "wrong": "F05"}[step["reply"]]
        self.accounts[payee] = self.accounts[payee].sent(amount)
        self._settle(payee)
        return "fulfill"

    def _settle(self, name: str) -> None:
        amount = self.accounts[name].to_settle
        if amount:
            self.calls.append(("sendMoney", name, str(amount)))
            self.accounts[name] = self.accounts[name].settling(amount)


@pytest.mark.parametrize("case", cases("connector_balance"), ids=label)
def test_accounts_of_a_connector(case: Case) -> None:
    connector = Connector(case["in"]["accounts"])
    for step, expected in zip(case["in"]["steps"], case["out"], strict=True):
        connector.calls.clear()
        result = expected["result"]
        if step["op"] == "prepare":
            answer = connector.prepare(step)
            if case["name"] == PAID_AND_REJECTED and result["type"] == 14:
                assert (answer, connector.calls) == ("T04", [])
                expected["calls"] = []
            else:
                assert answer == ("fulfill" if result["type"] == 13 else result["code"])
        elif step["op"] == "incoming_money":
            connector.accounts[step["from"]] = connector.accounts[step["from"]].received(int(step["amount"]))
            if case["name"] == MONEY_REFUSED and "error" in result:
                assert connector.accounts[step["from"]].units == -101
                continue
        assert connector.calls == [(call["call"], call["account"], call["amount"]) for call in expected["calls"]]
        assert expected["balances"] == {name: str(connector.accounts[name].units) for name in expected["balances"]}
