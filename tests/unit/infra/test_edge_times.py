"""How long a front may take, and how long others wait for it: numbers that stand in several places, held together."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from front.server import FINISH_S
from shared.receiving.answers import ANSWER_TIMEOUT_S
from shared.receiving.opening import TURN_S
from shared.receiving.receiver import LONGEST_WAIT_S
from shared.settings import Settings
from tests.infra_files import ROOT

PAYER_HANGS_UP_S = 10
"""The JavaScript library's patience."""
COMMIT_S = 1
DOORS = (ROOT / "infra/nginx/doors.conf.template").read_text()
NGINX = (ROOT / "infra/nginx/nginx.conf.template").read_text()
PAYMENTS = DOORS.partition("location ~ ^/(?:post|v1/packages/verify)$ {")[2].partition("}")[0]


def seconds(directive: str, text: str) -> int:
    [found] = re.findall(rf"\b{directive} (\d+)s;", text)
    return int(found)


def test_nginx_waits_longer_than_a_front_and_a_payer_longer_than_nginx() -> None:
    given_up_s = seconds("proxy_read_timeout", PAYMENTS)
    assert LONGEST_WAIT_S + COMMIT_S <= given_up_s < PAYER_HANGS_UP_S
    assert max(ANSWER_TIMEOUT_S, TURN_S) <= LONGEST_WAIT_S < FINISH_S
    assert f"payments are given up after {given_up_s} s" in (ROOT / "docs/deploying.md").read_text()


@pytest.mark.parametrize("name", ["funding_wait_s", "answer_timeout_s"])
def test_no_setting_makes_a_payer_wait_longer(name: str) -> None:
    assert getattr(Settings(**{name: LONGEST_WAIT_S}), name) == LONGEST_WAIT_S
    with pytest.raises(ValidationError):
        Settings(**{name: LONGEST_WAIT_S + 0.1})


def test_no_other_front_is_asked_when_the_request_has_grown_old() -> None:
    assert seconds("proxy_next_upstream_timeout", NGINX) < Settings().request_max_age_s
