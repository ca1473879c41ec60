"""Every setting of Sluice, once: its name, unit, default, bounds and environment variable.

A setting `port` is read from `SLUICE_PORT`, in the environment or in a file `.env`; the environment wins.
`docs/settings.md` is generated from this class (`make docs-settings`).
"""

from __future__ import annotations

import difflib
import json
import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.settings_files import FileBacked
from shared.settings_types import (
    Addresses,
    AgentVersions,
    DatabaseUrl,
    DeviceHub,
    Duration,
    ExposureLimit,
    ExposureLimits,
    HttpUrl,
    HubUrls,
    Networks,
    PairingSecret,
    Port,
    Rate,
    RedisUrl,
    Seconds,
    SecretsDir,
    UnconfirmedLimit,
    UnconfirmedLimits,
    Unit,
)

PUBLIC_HUBS = {"testnet": "wss://obyte.org/bb-test", "mainnet": "wss://obyte.org/bb"}


ENV_FILE = ".env"


def _default_hub(data: dict[str, Any]) -> str:
    network = data.get("network", "devnet")
    return PUBLIC_HUBS.get(network, f"ws://127.0.0.1:{data.get('devnet_port', 6611)}")


def _local_url(host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised: nobody can connect to it
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class Settings(FileBacked, BaseSettings):
    """All settings of one process. Frozen. Built by `load_settings()`, which words the faults."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_",
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    home: Annotated[Path, Unit("directory")] = Path(".sluice")
    """Where an embedded run keeps its databases, keys and logs."""
    secrets_dir: Annotated[SecretsDir | None, Unit("directory", "none")] = None
    """A directory of files named like variables, such as `SLUICE_DATABASE_URL`, that hold their values: secrets as
    containers and service managers hand them over. What the environment and `.env` say wins."""
    database_url: Annotated[DatabaseUrl | None, Unit("URL, secret", "embedded Postgres")] = None
    """Postgres, as `postgresql://user:password@host/database`; several hosts may be listed."""
    database_pooler: Annotated[bool, Unit("yes or no")] = False
    """Whether `SLUICE_DATABASE_URL` is a pooler that shares connections between transactions (PgBouncer):
    docs/scaling.md."""
    database_direct_url: Annotated[DatabaseUrl | None, Unit("URL, secret", "`SLUICE_DATABASE_URL`")] = None
    """Postgres past the pooler, for what needs a connection of its own: migrations, and hearing of changed API keys."""
    database_read_url: Annotated[DatabaseUrl | None, Unit("URL, secret", "none")] = None
    """A stand-by of Postgres that fronts read lists and statements of payments from; payments never wait for it."""
    database_read_max_lag_s: Duration = 10
    """How much older than the primary it may be; if it is more, or away, the primary is read."""
    redis_url: Annotated[RedisUrl | None, Unit("URL, secret", "embedded Redis")] = None
    """Redis, as `redis://host:port/0`, `rediss://…` or `unix:///socket/file`."""

    network: Annotated[Literal["devnet", "testnet", "mainnet"], Unit("name")] = "devnet"
    """The Obyte network. `devnet` is a local ledger whose money is worth nothing."""
    devnet_port: Port = 6611
    """Port of the local ledger's hub, on loopback."""
    hub_url: Annotated[HubUrls, Unit("URLs", "the local ledger, or the network's public hub")] = Field(
        default_factory=_default_hub
    )
    """The hub the ledger is followed through, as `wss://host/path`; several, separated by commas, in order of choice:
    when one fails or lies the next one is asked."""
    order_providers: Annotated[Addresses, NoDecode, Unit("addresses", "as the first hub names them, then pinned")] = ()
    """The order providers that the ledger's proofs are checked by, separated by commas: what is trusted instead of any
    hub."""

    wallet_file: Annotated[Path, Unit("file", "`SLUICE_HOME/wallet.json`")] = Field(
        default_factory=lambda data: data.get("home", Path(".sluice")) / "wallet.json"
    )
    """The receiver's encrypted seed. Only the worker reads it."""
    wallet_passphrase_file: Annotated[Path, Unit("file", "`SLUICE_HOME/wallet.passphrase`")] = Field(
        default_factory=lambda data: data.get("home", Path(".sluice")) / "wallet.passphrase"
    )
    """A file that holds the passphrase of the wallet file; readable by its owner only."""
    wallet_reserve: Annotated[int, Field(ge=0, le=9_000_000_000_000_000), Unit("bytes")] = 200_000
    """What deposits, withdrawals and other units that can wait must leave in the wallet, so that channels can always be
    settled and defended: each such unit takes 10 000 bytes, which mostly come back, and about 1 000 of fees. The alarm
    `wallet_low` is raised below it."""
    max_fee_ratio: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False), Unit("times the commissions")] = 100
    """A unit waits (alarm `fee_high`) while the network asks for more than this in oversize and TPS fees. Only the
    defence of a channel may pay more: up to half of what is at stake."""
    max_fee: Annotated[int | None, Field(ge=0, le=9_000_000_000_000_000), Unit("bytes", "no other limit")] = None
    """The same limit as an absolute amount; the lower of the two holds."""

    device_messages: Annotated[bool, Unit("yes or no")] = True
    """Whether peers may reach the worker by encrypted device messages, over the first hub."""
    device_name: Annotated[str, Field(min_length=1, max_length=100), Unit("name")] = "Sluice"
    """What our device calls itself to those it is paired with."""
    device_hub: Annotated[DeviceHub | None, Unit("host and path", "those of the first hub")] = None
    """The first hub as peers reach it; a part of the pairing code."""
    pairing_secret: Annotated[PairingSecret | None, Unit("secret", "none: every pairing code works once")] = None
    """A secret for a pairing code that works for everyone and any number of times."""

    bind_host: Annotated[str, Field(min_length=1), Unit("address")] = "127.0.0.1"
    """The address the front listens on."""
    port: Port = 6800
    """Port of the front."""
    rpc_port: Port = 6333
    """Port of the JSON-RPC door, on loopback only."""
    public_url: Annotated[HttpUrl, Unit("URL", "`http://BIND_HOST:PORT/`")] = Field(
        default_factory=lambda data: _local_url(data.get("bind_host", "127.0.0.1"), data.get("port", 6800))
    )
    """The address peers reach the fronts at, behind the load balancer."""

    min_channel_timeout_s: Seconds = 800
    """Shortest timeout of a channel that a peer may open with us."""
    max_channel_timeout_s: Seconds = 1500
    """Longest timeout of a channel that a peer may open with us."""
    default_channel_timeout_s: Seconds = 1000
    """Timeout of the channels we open."""
    confirm_closings_from: Annotated[int, Field(ge=0, le=9_000_000_000_000_000), Unit("bytes")] = 2_000
    """A peer's closing that moves less than this for us is left to him: he can end it himself after the timeout. A
    confirmation costs about 1 000 in fees. 0 confirms every closing at once."""
    deadline_warn_share: Annotated[float, Field(gt=0, le=1), Unit("share of the timeout")] = 0.5
    """The alarm `deadline_near` is raised when a peer's closing is unanswered for this long."""
    deadline_defend_share: Annotated[float, Field(gt=0, le=1), Unit("share of the timeout")] = 0.7
    """From here on the answer to a peer's closing may use all coins and cost up to half of what is at stake."""
    closing_overdue_s: Duration = 600
    """The alarm `closing_overdue` is raised when a closing of ours has not ended this long after its timeout."""
    agent_versions: Annotated[AgentVersions, NoDecode, Unit("versions")] = ("1.2", "1.1")
    """Versions of the channels agent that new channels may have, separated by commas, the preferred one first. Those
    that are not published on the network (`sluice wallet publish-agent`) are left out. A peer can rob us of what is in
    a channel of 1.1; the JavaScript library knows no other one."""
    max_unfunded_channels_per_peer: Annotated[int, Field(ge=1, le=1_000_000), Unit("channels")] = 20
    """Channels one payer address may have with us that never saw a deposit; more are refused."""
    max_unfunded_channels: Annotated[int, Field(ge=1, le=10_000_000), Unit("channels")] = 10_000
    """Channels of all payers together that never saw a deposit; more are refused."""
    unfunded_channel_expiry_s: Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False), Unit("s")] = 604_800
    """A channel that never saw a deposit is given up after this (7 days): it counts no more and is hardly watched. Its
    peer, or a deposit, brings it back. 0: never."""
    unconfirmed_limits: Annotated[UnconfirmedLimits, NoDecode, Unit("JSON by asset: amounts and s")] = {
        "base": UnconfirmedLimit(max_by_asset=1_000_000, max_by_channel=1_000_000, min_age_s=5)
    }
    """What may be accepted against deposits that are not stable yet. An asset that is not listed has none."""
    exposure_limits: Annotated[ExposureLimits, NoDecode, Unit("JSON by asset: amounts")] = {
        "base": ExposureLimit(
            max_by_channel=1_000_000_000,
            sweep_above=500_000_000,
            max_own_deposit=500_000_000,
            max_total=20_000_000_000,
        ),
        "*": ExposureLimit(
            max_by_channel=10_000_000, sweep_above=5_000_000, max_own_deposit=5_000_000, max_total=200_000_000
        ),
    }
    """What may be at risk in channels of agent 1.1, whose peers can take everything that was not settled yet: in one
    channel (payments beyond it are refused), earned in one channel before it is closed, deposited by us in one, and in
    all channels together. `*` holds for assets that are not listed; without it nothing is put at risk in those.
    How to choose: docs/running.md."""
    watcher_max_silence_s: Annotated[Duration, Unit("s", "a quarter of `SLUICE_MIN_CHANNEL_TIMEOUT_S`")] = Field(
        default_factory=lambda data: data.get("min_channel_timeout_s", 800) / 4
    )
    """Fronts stop accepting payments when the ledger watcher has been silent this long."""

    worker_metrics_port: Annotated[int | None, Field(ge=1, le=65_535), Unit("TCP port", "not served")] = None
    """Port where the worker serves its metrics for Prometheus."""
    worker_metrics_host: Annotated[str, Field(min_length=1), Unit("address")] = "127.0.0.1"
    """The address it serves them on; another one than loopback only in a network that strangers cannot reach."""
    lease_ttl_s: Duration = 10
    """A stand-by worker takes over this long after the active one was killed."""
    request_max_age_s: Duration = 5
    """A peer's request with an older timestamp is refused."""
    funding_wait_s: Annotated[float, Field(gt=0, le=8, allow_inf_nan=False), Unit("s")] = 8
    """A payment on a channel whose funding was not seen yet waits for it at most this long; with the application's
    answer not longer than 8 s in all, because peers hang up after 10 s."""
    accept_batch_max: Annotated[int, Field(ge=1, le=10_000), Unit("payments")] = 200
    """Payments that share one database transaction, at most."""
    accept_queue_max: Annotated[int, Field(ge=1, le=1_000_000), Unit("payments")] = 2000
    """Payments that may wait in one front, at most a quarter of them of one payer; more are refused with 503."""
    drain_wait_s: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False), Unit("s")] = 5
    """A front that is told to stop says so in `/readyz` and goes on serving for this long, until balancers send it
    nothing more."""
    answer_url: Annotated[HttpUrl | None, Unit("URL", "nobody is asked")] = None
    """The application that is asked, with each payment, what to answer to the payer: docs/answers.md."""
    answer_secret_file: Annotated[Path, Unit("file", "`SLUICE_HOME/answer.secret`")] = Field(
        default_factory=lambda data: data.get("home", Path(".sluice")) / "answer.secret"
    )
    """A file that holds the secret these questions are signed with, `whsec_` and base64; two lines while it is
    replaced. Readable by its owner only."""
    answer_timeout_s: Annotated[float, Field(gt=0, le=8, allow_inf_nan=False), Unit("s")] = 3
    """How long a payer waits for the application's answer at most; after a wait for the funding, for what is left of
    8 s."""
    webhook_allowed_networks: Annotated[
        Networks, NoDecode, Unit("networks", "only public addresses; on `devnet` this machine, too")
    ] = Field(default_factory=lambda data: ("127.0.0.0/8", "::1/128") if data.get("network") == "devnet" else ())
    """Networks in which receivers of webhooks and the application that answers may be, although they are not public:
    as `10.1.0.0/16,fd00::/64`. Without TLS (`http://`) they may be nowhere else."""
    max_webhooks: Annotated[int, Field(ge=0, le=1_000), Unit("webhooks")] = 20
    """Webhooks there may be; each has its own deliveries."""
    webhook_parallel: Annotated[int, Field(ge=1, le=128), Unit("calls")] = 16
    """Calls to one webhook at the same time, each with events of another channel."""
    webhook_disable_after_s: Duration = 259_200
    """A webhook is disabled when a delivery fails for good (after a day of attempts) and nothing has succeeded for this
    long (3 days)."""
    webhook_retention_s: Duration = 604_800
    """How long deliveries stay on record after their end, with their attempts (7 days)."""
    events_retention_s: Duration = 2_592_000
    """How long events are kept for readers that come back (30 days)."""
    payments_archive_after_s: Annotated[
        float,
        Field(ge=0, le=3_153_600_000, allow_inf_nan=False),
        Unit("s", "5 days more than `SLUICE_EVENTS_RETENTION_S`"),
    ] = Field(default_factory=lambda data: data.get("events_retention_s", 2_592_000) + 432_000)
    """Payments move to the archive, where everything still finds them, when the end of their channel's period was seen
    this long ago. 0: never. docs/scaling.md"""
    payments_retention_s: Annotated[
        float, Field(ge=0, le=3_153_600_000, allow_inf_nan=False), Unit("s", "for ever")
    ] = 0
    """Archived payments are dropped, by whole months, when they are older than this; their sums stay. 0: never."""

    trusted_proxies: Annotated[Networks, NoDecode, Unit("networks")] = ("127.0.0.0/8", "::1/128")
    """Networks of the proxies in front of us, separated by commas: who connects from them says in `X-Forwarded-For` for
    whom. From anybody else that header is ignored."""
    limit_payments_per_channel: Annotated[Rate, Unit("per s")] = 1_000
    """Payments that one channel may make; more are answered with 429. As with all these limits: so many at once and
    then so many per second, in all fronts together (docs/keys_and_limits.md); 0: no limit."""
    limit_refusals_per_channel: Annotated[Rate, Unit("per s")] = 20
    """Packages of a channel's payer that may be refused; then its packages are answered with 429 for a while."""
    limit_posts_per_address: Annotated[Rate, Unit("per s")] = 2_000
    """Requests to `/post` from one network address."""
    limit_public_per_address: Annotated[Rate, Unit("per s")] = 50
    """Requests from one network address to what else needs no key: terms, payment pages."""
    limit_openings_per_address: Annotated[Rate, Unit("per hour")] = 100
    """Channels that are newly asked for from one network address."""
    limit_failed_keys_per_address: Annotated[Rate, Unit("per minute")] = 30
    """Requests with a wrong API key from one network address; then keys that this front does not know yet are not even
    looked up for it."""
    limit_reads_per_key: Annotated[Rate, Unit("per s")] = 500
    """Requests of one API key that only read."""
    limit_receives_per_key: Annotated[Rate, Unit("per s")] = 5_000
    """Requests of one API key with the scope `receive`: packages to verify."""
    limit_orders_per_key: Annotated[Rate, Unit("per s")] = 100
    """Requests of one API key that move money or administer. With Redis away these are refused (503)."""
    max_unfinished_commands_per_key: Annotated[int, Field(ge=0, le=10_000_000), Unit("commands")] = 1_000
    """Orders of one API key that the worker has not finished; more are answered with 429. 0: no limit."""

    log_format: Annotated[Literal["console", "json"], Unit("name")] = "console"
    """`console` for people, `json` for machines: one object per line."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Unit("name")] = "info"
    """The least severe events that are logged."""

    @field_validator("home", "secrets_dir", "wallet_file", "wallet_passphrase_file", "answer_secret_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        # Children run with the same settings and must find the same files whatever their working directory is.
        return None if path is None else path.expanduser().absolute()

    @field_validator("public_url")
    @classmethod
    def _ends_with_slash(cls, url: str) -> str:
        # Peers append "post" to it: the base address always ends with a slash (Obyte channels, peers over HTTP).
        return url if url.endswith("/") else url + "/"

    @field_validator("max_channel_timeout_s")
    @classmethod
    def _not_below_min(cls, seconds: int, info: ValidationInfo) -> int:
        least = info.data.get("min_channel_timeout_s", seconds)
        if seconds < least:
            raise ValueError(f"must not be below SLUICE_MIN_CHANNEL_TIMEOUT_S ({least})")
        return seconds

    @field_validator("deadline_defend_share")
    @classmethod
    def _not_before_the_warning(cls, share: float, info: ValidationInfo) -> float:
        least = info.data.get("deadline_warn_share", share)
        if share < least:
            raise ValueError(f"must not be below SLUICE_DEADLINE_WARN_SHARE ({least:g})")
        return share

    @field_validator("default_channel_timeout_s")
    @classmethod
    def _between_min_and_max(cls, seconds: int, info: ValidationInfo) -> int:
        least = info.data.get("min_channel_timeout_s", seconds)
        most = info.data.get("max_channel_timeout_s", seconds)
        if not least <= seconds <= most:
            raise ValueError(f"must lie between the shortest and the longest channel timeout ({least} to {most})")
        return seconds

    @field_validator("payments_archive_after_s")
    @classmethod
    def _not_while_events_are_kept(cls, seconds: float, info: ValidationInfo) -> float:
        # A payment is an event, too: it leaves the stream with the others.
        least = info.data.get("events_retention_s", seconds)
        if 0 < seconds < least:
            raise ValueError(f"must be 0, or not below SLUICE_EVENTS_RETENTION_S ({least:g})")
        return seconds

    @field_validator("payments_retention_s")
    @classmethod
    def _not_before_the_archive(cls, seconds: float, info: ValidationInfo) -> float:
        least = info.data.get("payments_archive_after_s", seconds)
        if seconds and not 0 < least <= seconds:
            raise ValueError(
                f"must be 0, or not below SLUICE_PAYMENTS_ARCHIVE_AFTER_S ({least:g}), which must not be 0 then"
            )
        return seconds

    @field_validator("watcher_max_silence_s")
    @classmethod
    def _below_shortest_timeout(cls, seconds: float, info: ValidationInfo) -> float:
        # A closing that is noticed only after the channel's timeout can no longer be answered.
        shortest = info.data.get("min_channel_timeout_s", seconds + 1)
        if seconds >= shortest:
            raise ValueError(f"must be below SLUICE_MIN_CHANNEL_TIMEOUT_S ({shortest})")
        return seconds

    @property
    def runs_devnet(self) -> bool:
        """Whether `sluice up` starts the local ledger: on devnet, unless a hub was named."""
        return self.network == "devnet" and "hub_url" not in self.model_fields_set

    @property
    def hub_urls(self) -> tuple[str, ...]:
        """The hubs, the preferred one first."""
        return tuple(self.hub_url.split(","))

    @property
    def public_device_hub(self) -> str:
        """Host and path at which peers leave messages for our device."""
        return self.device_hub or self.hub_urls[0].partition("://")[2].rstrip("/")

    @property
    def local_url(self) -> str:
        """The address under which this machine itself reaches the fronts."""
        return _local_url(self.bind_host, self.port)

    def connected(self, **urls: str) -> Settings:
        """Return a copy with some of `database_url`, `redis_url` and `hub_url` replaced, given in clear."""
        return self.model_copy(
            update={name: url if name == "hub_url" else SecretStr(url) for name, url in urls.items()}
        )

    @property
    def database_dsn(self) -> str:
        """The Postgres URL in clear, for asyncpg and psycopg. Raises SettingsError when there is none."""
        if self.database_url is None:
            raise SettingsError(["SLUICE_DATABASE_URL: is not set and no embedded Postgres runs: try `sluice up`"])
        return self.database_url.get_secret_value()

    @property
    def direct_dsn(self) -> str:
        """The Postgres URL in clear that no pooler stands before. Raises SettingsError as `database_dsn`."""
        url = self.database_direct_url
        return self.database_dsn if url is None else url.get_secret_value()

    @property
    def read_dsn(self) -> str | None:
        """The URL of a stand-by in clear, None without one."""
        return None if self.database_read_url is None else self.database_read_url.get_secret_value()

    @property
    def broker_url(self) -> str | None:
        """The Redis URL as Celery spells it (`redis+socket://` for a socket file); None without Redis."""
        if self.redis_url is None:
            return None
        text = self.redis_url.get_secret_value()
        if not text.startswith("unix:"):
            return text
        return f"redis+socket://{unquote(urlsplit(text).path)}"


class SettingsError(Exception):
    """Settings that cannot be used. `faults`: one line per fault, `SLUICE_NAME: what is wrong`."""

    code = "settings_invalid"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment and `.env`; `overrides` (by attribute name) win over both.

    Raises SettingsError with one line per fault. A `SLUICE_*` variable that no setting knows is logged as a warning.
    """
    for variable in unknown_variables():
        logging.getLogger(__name__).warning(variable)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = [
            _fault(dict(fault))
            for fault in error.errors(include_url=False, include_context=False)
            if fault["type"] != "default_factory_not_called"  # follows from another fault that is listed
        ]
    raise SettingsError(faults)


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that give a child process exactly these settings, secrets in clear."""
    variables = {}
    for name, value in settings:
        if value is not None:
            variables[variable_of(name)] = _as_text(value)
    return variables


def variable_of(name: str) -> str:
    """Return the environment variable of the setting with this attribute name."""
    return f"SLUICE_{name.upper()}"


def unknown_variables() -> list[str]:
    """Return one line per `SLUICE_*` variable (environment or `.env`) that is no setting, with the nearest name."""
    known = [variable_of(name) for name in Settings.model_fields]
    lines = []
    for variable in sorted({name.upper() for name in [*os.environ, *dotenv_values(ENV_FILE)]}):
        if variable.startswith("SLUICE_") and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            lines.append(f"{variable}: is no setting" + (f", did you mean {near[0]}?" if near else ""))
    return lines


def _as_text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return json.dumps({name: limit.model_dump() for name, limit in value.items()})
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def _fault(fault: dict[str, Any]) -> str:
    name, *inside = [str(part) for part in fault["loc"]]
    where = f" (in {'.'.join(part for part in inside if part != '[key]')})" if inside else ""
    what = str(fault["msg"]).removeprefix("Value error, ")
    shown = ""
    if not inside and not _is_secret(name) and isinstance(fault["input"], str | int | float):
        shown = f", not {str(fault['input'])[:60]!r}"
    return f"{variable_of(name)}: {what[0].lower()}{what[1:]}{where}{shown}"


def _is_secret(name: str) -> bool:
    # Whatever may carry a password; a URL that must not carry one may still do so by mistake.
    return name not in Settings.model_fields or name.endswith(("_url", "_secret"))
