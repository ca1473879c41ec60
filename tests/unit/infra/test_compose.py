"""docker-compose.yml: the schema of Compose, and what we ask of every container besides."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from front.server import stop_bound_s
from infra.topology import EdgeError, nginx_program, render
from shared.settings import Settings, variable_of
from tests.infra_files import ROOT, compose, document, env_file, faults, schema
from worker.thread import STOP_BOUND_S

if TYPE_CHECKING:
    from pathlib import Path

COMPOSE = compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("front", "worker", "migrate")
KNOWN = {variable_of(name) for name in Settings.model_fields}


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


@pytest.mark.parametrize("path", ["docker-compose.yml", "infra/compose/grafana-on-loopback.yml"])
def test_compose_takes_it(path: str) -> None:
    found = COMPOSE if path == "docker-compose.yml" else document(path)
    assert faults(schema("compose-spec.json"), found) == []


def test_the_schema_is_strict_enough_to_see_a_wrong_word() -> None:
    assert faults(schema("compose-spec.json"), {"services": {"a": {"image": "b", "readonly": True}}})


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_write_nothing_become_nobody_and_take_no_more_than_its_share(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].partition(":")[0]) > 0
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)
    assert service["logging"]["options"]["max-size"]
    for tmpfs in service.get("tmpfs", []):
        assert {"noexec", "nosuid", "nodev"} <= set(tmpfs.partition(":")[2].split(",")), tmpfs


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_one_exact_version(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?(-bookworm)?", tag), tag
    if name in OURS:
        assert tag == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_everything_that_runs_on_is_asked_how_it_is() -> None:
    for name, service in SERVICES.items():
        assert service["healthcheck"] == {"disable": True} if name == "migrate" else service["healthcheck"]["test"]


def test_only_nginx_is_reachable_and_what_holds_money_has_no_way_out() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert not any("network_mode" in service for service in SERVICES.values())
    internal = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    for name in ("postgres", "redis", "prometheus", "grafana", "front", "migrate"):
        assert set(SERVICES[name]["networks"]) <= internal, name
    assert set(SERVICES["nginx"]["networks"]) == {"public", "doors"}
    reached = {name for name, service in SERVICES.items() if "doors" in service["networks"]}
    assert reached == {"nginx", "front"}


def test_fronts_believe_nginx_alone_about_addresses() -> None:
    [subnet] = [each["subnet"] for each in COMPOSE["networks"]["doors"]["ipam"]["config"]]
    assert SERVICES["front"]["environment"]["SLUICE_TRUSTED_PROXIES"] == subnet


def test_parts_wait_for_what_they_need() -> None:
    assert SERVICES["nginx"]["depends_on"] == {"front": {"condition": "service_healthy"}}
    for name in ("front", "worker"):
        waits = {needed: how["condition"] for needed, how in SERVICES[name]["depends_on"].items()}
        assert waits["migrate"] == "service_completed_successfully"
        assert waits["postgres"] == "service_healthy"
    assert SERVICES["migrate"]["restart"] == "no"
    assert [SERVICES[name]["deploy"]["replicas"] for name in ("front", "worker")] == [2, 2]


def test_nobody_is_killed_before_he_is_done() -> None:
    assert seconds(SERVICES["front"]["stop_grace_period"]) > stop_bound_s(Settings())
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > STOP_BOUND_S
    [edge] = re.findall(r"worker_shutdown_timeout (\d+)s;", (ROOT / "infra/nginx/nginx.conf.template").read_text())
    assert seconds(SERVICES["nginx"]["stop_grace_period"]) > int(edge)


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files_and_each_has_only_those_it_needs(name: str) -> None:
    service = SERVICES[name]
    for variable, value in service.get("environment", {}).items():
        assert "://" not in value or "@" not in value, variable
        if re.search("PASSWORD|SECRET|TOKEN", variable):
            assert value.startswith("/run/secrets"), variable
    given = {each if isinstance(each, str) else each["source"] for each in service.get("secrets", [])}
    assert given <= set(COMPOSE["secrets"])
    logins = {each for each in given if each.endswith("database_url")}
    expected = {
        "front": {"front.database_url"},
        "worker": {"worker.database_url"},
        "migrate": {"migrator.database_url"},
    }
    assert logins == expected.get(name, set())
    assert ("wallet.passphrase" in given) == (name == "worker")


def test_every_secret_is_made_by_the_script_which_touches_none_that_is_there(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run([ROOT / "infra/compose/make-secrets", directory], check=True, capture_output=True)
        made = {file.name: file.read_text() for file in directory.iterdir()}
        needed = {each["file"].rpartition("/")[2] for each in COMPOSE["secrets"].values()}
        assert needed <= set(made)
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "redis_url").chmod(0o600)
        (directory / "redis_url").write_text("redis://mine/0")
    assert made["redis_url"] == "redis://mine/0"
    for login in ("front", "worker", "migrator"):
        assert Settings(database_url=made[f"{login}.database_url"].strip()).database_dsn
        assert made[f"postgres_{login}.password"] in made[f"{login}.database_url"]
    assert len({made[f"postgres_{login}.password"] for login in ("front", "worker", "migrator", "administrator")}) == 4


def test_every_variable_of_ours_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    common = env_file("infra/compose/sluice.env")
    for name in OURS:
        given = {**common, **SERVICES[name]["environment"]}
        assert set(given) <= KNOWN
        with monkeypatch.context() as context:
            for variable, value in given.items():
                if variable != "SLUICE_SECRETS_DIR":
                    context.setenv(variable, value)
            assert Settings().network == "testnet"


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert rest.endswith(":ro"), source
            else:
                assert source in COMPOSE["volumes"]
    assert os.access(ROOT / "infra/compose/postgres-init.sh", os.X_OK)


def test_nginx_takes_the_configuration_of_the_container(tmp_path: Path) -> None:
    try:
        program = nginx_program()
    except EdgeError as error:
        pytest.skip(str(error))
    secrets = tmp_path / "secrets"
    subprocess.run([ROOT / "infra/compose/make-secrets", secrets], check=True, capture_output=True)
    given = {name: value for name, value in SERVICES["nginx"]["environment"].items() if name.startswith("EDGE_")}
    # What only the container has: its directories, and a name that Docker resolves.
    here = {
        "EDGE_RUN": str(tmp_path),
        "EDGE_ACCESS_LOG": str(tmp_path / "access.log"),
        "EDGE_CERTIFICATE": str(secrets / "tls.crt"),
        "EDGE_CERTIFICATE_KEY": str(secrets / "tls.key"),
        "EDGE_FRONTS": given["EDGE_FRONTS"].replace("front:", "localhost:").replace(" resolve", ""),  # needs 1.27.3
    }
    for name, text in render({**given, **here}).items():
        (tmp_path / name).write_text(text)
    words = [program, "-t", "-e", "stderr", "-c", tmp_path / "nginx.conf"]
    checked = subprocess.run(words, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    told = [line for line in checked.stderr.splitlines() if "[warn]" in line and "could not build" in line]
    assert told == []
