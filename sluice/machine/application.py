"""The application that is asked what to answer to payments, as `sluice doctor` looks at it: without asking."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING

from shared.receiving.answers_over_http import answer_server
from shared.settings import SettingsError
from shared.webhooks.errors import CallError, ForbiddenAddressError
from sluice.machine.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.settings import Settings
    from shared.webhooks.addresses import Resolve

_CHECK = "application"
_BOUND_S = 5.0


async def check_application(settings: Settings, resolve: Resolve | None = None) -> AsyncIterator[Finding]:
    """Tell whether it could be asked from here: its URL, its address, the secret; nothing if nobody is asked."""
    if settings.answer_url is None:
        return
    try:
        server = answer_server(settings, resolve)
        assert server is not None  # noqa: S101 - there is a URL
    except SettingsError as error:
        advice = "see docs/answers.md: fronts and the worker do not start with this"
        yield Finding(_CHECK, Verdict.FAIL, error.faults[0], advice)
        return
    target = server.target
    try:
        async with asyncio.timeout(_BOUND_S):
            addresses = await server.guard.addresses(target.host, is_plain=target.is_plain)
    except ForbiddenAddressError as error:
        advice = "if it should be asked there, add the network to SLUICE_WEBHOOK_ALLOWED_NETWORKS"
        yield Finding(_CHECK, Verdict.FAIL, str(error), advice)
    except (CallError, TimeoutError) as error:
        advice = "check SLUICE_ANSWER_URL: payers are told that the application has failed"
        yield Finding(_CHECK, Verdict.FAIL, str(error) or f"the host {target.host} cannot be looked up in time", advice)
    else:
        yield Finding(_CHECK, Verdict.OK, f"{target.scheme}://{target.authority} is asked at {', '.join(addresses)}")
    file = settings.answer_secret_file
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(_CHECK, Verdict.WARN, f"others may read {file}", f"chmod 600 {file}")
