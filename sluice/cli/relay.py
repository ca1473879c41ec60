"""`sluice relay`: a Moneysocket relay, alone. It needs no database, no keys and no other part of Sluice."""

from __future__ import annotations

import asyncio
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import CommandError, UsageError, read_settings, run

if TYPE_CHECKING:
    from shared.moneysocket.stacks import ListenAt, Wires

DEFAULT_PORT = 11060
COUNT_EVERY_S = 60.0
_OTHER_FILES = 64


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: sluice relay --host 0.0.0.0 --port 443 --certificate chain.pem --key key.pem")(relay)


def relay(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = DEFAULT_PORT,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM: the certificate and its chain. With it TLS is spoken.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM: the key of the certificate.")] = None,
    connections: Annotated[int, typer.Option(min=2, max=1_000_000, help="At most so many at once.")] = 10_000,
    waiting: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Of these, so many may wait for their other end.")
    ] = 5_000,
    wait: Annotated[
        float, typer.Option(min=1, max=31_536_000, help="Seconds to wait for the other end, until one is closed.")
    ] = 3600,
    idle: Annotated[
        float, typer.Option(min=1, max=31_536_000, help="Seconds that two may say nothing, until both are closed.")
    ] = 86_400,
) -> None:
    """Bring Moneysocket wallets and applications together that name the same rendezvous, until Ctrl-C or SIGTERM.

    The relay holds no secret and cannot read what it forwards. It forwards encrypted frames of at most 64 KiB, and
    nothing else. Once a minute it says how many there are, if that has changed.
    """
    from shared.moneysocket.limits import Limits
    from shared.moneysocket.stacks import ListenAt, Wires

    if (certificate is None) != (key is None):
        raise UsageError("--certificate and --key belong together")
    read_settings(attach=False)  # how to log
    _allow_open_files(connections + _OTHER_FILES)
    limits = Limits(max_diallers=connections, max_waiting=waiting, wait_s=wait, idle_s=idle)
    run(_serve(ListenAt(host, port, certificate, key), Wires(limits=limits)))


def _allow_open_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, -1) and hard < wanted:
        raise UsageError(f"this process may open {hard} files: --connections is at most {max(hard - _OTHER_FILES, 2)}")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(at: ListenAt, wires: Wires) -> None:
    from shared.moneysocket.stacks import Relay

    stopped = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    server = Relay(wires)
    try:
        (location, *_) = await server.open(at)
    except OSError as error:
        raise CommandError(f"the relay cannot listen: {error}") from None
    scheme = "wss" if location.use_tls else "ws"
    typer.echo(f"relay listening on {scheme}://{location.host}:{location.port}")
    said = server.counts
    while not stopped.is_set():
        try:
            await asyncio.wait_for(stopped.wait(), COUNT_EVERY_S)
        except TimeoutError:
            if server.counts != said:
                said = server.counts
                typer.echo(f"{said.sockets} connections, {said.waiting} waiting, {said.joined} rendezvous")
    await server.close()
    typer.echo("relay stopped")
