"""nginx on the templates of `infra/nginx`, which the containers use too."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.topology.parts import Part
from sluice.home import private_directory
from sluice.machine.account import SYSTEM_PATH
from sluice.machine.processes import Child

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.topology.parts import Hands
    from sluice.machine.account import Account

TEMPLATES = Path(__file__).parent.parent / "nginx"
_VARIABLE = re.compile(r"\$\{(EDGE_[A-Z_]+)\}")
_PROBE_TIMEOUT_S = 2.0


class EdgeError(Exception):
    """There is no nginx, or a template asks for what nobody gave."""

    code = "edge_unusable"


def nginx_program() -> Path:
    """Return the nginx of this machine. Raises EdgeError when there is none."""
    found = shutil.which("nginx", path=SYSTEM_PATH)
    if found is None:
        raise EdgeError("there is no nginx: install it (Debian: apt-get install nginx)")
    return Path(found)


def render(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the configuration files by name, `variables` filled in as the container's entry point does it.

    Raises EdgeError for a variable that is missing.
    """
    return {file.name.removesuffix(".template"): _filled(file, variables) for file in TEMPLATES.glob("*.template")}


def _filled(template: Path, variables: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise EdgeError(f"{template.name} needs {match[1]}")
        return variables[match[1]]

    return _VARIABLE.sub(value_of, template.read_text(encoding="utf-8"))


class Nginx(Part):
    """The edge. `url` without TLS and `tls_url` (a certificate of its own, `certificate`) serve the same doors.

    `ports`: for one and for the other. `upstreams`: host and port of each front. `variables`: of the templates, in
    place of those that this machine needs, such as stricter limits.
    """

    def __init__(
        self,
        directory: Path,
        ports: tuple[int, int],
        upstreams: Sequence[str],
        account: Account,
        hands: Hands,
        *,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("nginx", hands)
        self._directory, self._ports, self._upstreams, self._account = directory, ports, upstreams, account
        self._given = dict(variables or {})
        self.url = f"http://127.0.0.1:{ports[0]}/"
        self.tls_url = f"https://127.0.0.1:{ports[1]}/"
        self.certificate = directory / "certificate.pem"
        self.access_log = directory / "access.log"

    def launch(self) -> Child:
        """Write the configuration and start it."""
        private_directory(self._directory, self._account.owner)
        if not self.certificate.exists():
            self._make_certificate()
        for name, text in render(self._variables()).items():
            (self._directory / name).write_text(text, encoding="utf-8")
        words = ["-e", "stderr", "-c", str(self._directory / "nginx.conf"), "-g", "daemon off;"]
        # As in the container: not root, and nothing but its own directory to write to. Killed, the master would leave
        # its workers behind; asked to stop it takes them along.
        command = self._account.command(nginx_program(), *words, needs=self._directory, death_signal=signal.SIGTERM)
        return Child("nginx", command, log=self._directory.parent / "logs" / "nginx.log", env={"PATH": SYSTEM_PATH})

    async def unready(self) -> str:
        """Ask for a door that it keeps shut by itself: no front is needed for the answer."""
        try:
            async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT_S, trust_env=False) as client:
                await client.get(f"{self.url}healthz")
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__
        return ""

    async def stop(self, how: int = signal.SIGQUIT, *, within_s: float = 10) -> bool:
        """Stop it; by default requests under way are finished."""
        return await super().stop(how, within_s=within_s)

    def reload(self) -> None:
        """Let it read its configuration anew: new processes serve, the old ones finish what they have."""
        if self._child is not None:
            self._child.ask_to_stop(signal.SIGHUP)

    def _variables(self) -> dict[str, str]:
        plain, tls = self._ports
        return {
            "EDGE_RUN": str(self._directory),
            "EDGE_ERROR_LOG": "stderr",
            "EDGE_ACCESS_LOG": str(self.access_log),
            "EDGE_OPEN_FILES": "8192",
            "EDGE_CONNECTIONS": "4096",
            "EDGE_REQUESTS_PER_S": "100000",  # everybody here has the same address
            "EDGE_BURST": "100000",
            "EDGE_CONNECTIONS_PER_ADDRESS": "4000",
            "EDGE_RESOLVER": "",
            "EDGE_FRONTS": " ".join(f"server {address} max_fails=3 fail_timeout=5s;" for address in self._upstreams),
            "EDGE_HTTP_LISTEN": f"127.0.0.1:{plain}",
            "EDGE_HTTP_SERVES": "doors",
            "EDGE_TLS_LISTEN": f"127.0.0.1:{tls}",
            "EDGE_CERTIFICATE": str(self.certificate),
            "EDGE_CERTIFICATE_KEY": str(self._directory / "certificate.key"),
            **self._given,
        }

    def _make_certificate(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        now = dt.datetime.now(dt.UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(names, critical=False)
            .sign(key, hashes.SHA256())
        )
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self._directory / "certificate.key"
        file.touch(mode=0o600)
        file.write_bytes(private)
        shutil.chown(file, *self._account.owner)
