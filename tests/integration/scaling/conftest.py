"""A PgBouncer of the test's own, on the configuration of production, and pairs of Postgres."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from sluice.home import private_directory
from sluice.machine.account import Account

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = Path(__file__).parents[3] / "infra" / "pgbouncer" / "pgbouncer.ini"
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
BOUND_S = 20.0


@pytest.fixture
def pooler_url(database_url: str, tmp_path_factory: pytest.TempPathFactory, free_port: int) -> Iterator[str]:
    """The test's database behind PgBouncer."""
    program = shutil.which("pgbouncer", path=_PATH)
    if program is None:
        pytest.skip("pgbouncer is not installed (apt-get install pgbouncer)")
    parts = urlsplit(database_url)
    name, sockets = parts.path[1:], parse_qs(parts.query)["host"][0]
    account = Account()
    home = tmp_path_factory.mktemp("pgbouncer") / "home"
    home.parent.chmod(0o711)
    private_directory(home, account.owner)
    own = home / "pgbouncer.ini"
    text = CONFIGURATION.read_text()
    for name_, value in {  # only where things are is of the test
        "sluice": f"host={sockets} dbname={name} user=postgres",
        "listen_addr": "127.0.0.1",
        "listen_port": str(free_port),
        "auth_type": "any",
        "auth_file": "",
        "default_pool_size": "4",
    }.items():
        text, found = re.subn(rf"(?m)^{name_} =.*$", f"{name_} = {value}", text)
        assert found == 1, name_
    own.write_text(f"{text}unix_socket_dir =\n")
    own.chmod(0o644)
    log = (home.parent / "log").open("w")
    with subprocess.Popen(
        account.command(Path(program), str(own), needs=home), stdout=log, stderr=log, env={"PATH": _PATH}
    ) as process:
        try:
            _wait_for(free_port, process, Path(log.name))
            yield f"postgresql://anybody@127.0.0.1:{free_port}/sluice"
        finally:
            process.terminate()
            process.wait(BOUND_S)
            log.close()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + BOUND_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"pgbouncer does not run:\n{log.read_text()}")
            time.sleep(0.05)
        else:
            return
