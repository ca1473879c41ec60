"""docs/deploying.md names what there is."""

from __future__ import annotations

import re

from front import app
from infra.topology import Part, Topology
from shared.settings import Settings, variable_of
from tests.infra_files import ROOT, compose
from worker import thread
from worker.webhooks import terms

PAGE = (ROOT / "docs/deploying.md").read_text()


def test_every_file_that_it_names_is_there() -> None:
    named = set(re.findall(r"\binfra/[\w./@-]*\w", PAGE)) - {"infra/compose/secrets/tls.crt"}
    assert len(named) > 10
    for path in named:
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([^)#:]+)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


def test_every_variable_that_it_names_is_read() -> None:
    known = {variable_of(name) for name in Settings.model_fields}
    text = (ROOT / "docker-compose.yml").read_text()
    for variable in re.findall(r"\b(?:SLUICE|EDGE)_[A-Z_]+[A-Z]\b", PAGE):
        assert variable in known or variable in text, variable


def test_every_part_and_handle_that_it_names_is_there() -> None:
    services = set(compose()["services"])
    for command in re.findall(r"^docker compose .*$", PAGE, re.MULTILINE):
        scaled = re.findall(r"--scale (\w+)=", command)
        run = re.findall(r"(?:run|exec) (?:--\S+ )*(\w+)", command)
        assert {*scaled, *run} <= services, command
    for handle in re.findall(r"\btopology\.(\w+)[\[(.]", PAGE):
        assert hasattr(Topology, handle) or f"self.{handle} = " in (ROOT / "infra/topology/topology.py").read_text()
    for action in re.findall(r"\]\.(\w+)\(|postgres\.(\w+)\(", PAGE):
        assert hasattr(Part, "".join(action)), action


def test_the_connections_of_each_part_are_those_of_its_pools() -> None:
    hears_of_keys = 1
    front = app.MAX_CONNECTIONS + hears_of_keys
    worker = thread.MAX_CONNECTIONS + thread.MAX_DEVICE_CONNECTIONS + terms.MAX_CONNECTIONS
    said = f"{front} a front, {worker} a worker"
    assert said in PAGE
    assert said in (ROOT / "infra/compose/roll").read_text()
    assert (
        f"Fronts hold {front} connections each, workers {worker}" in (ROOT / "infra/postgres/primary.conf").read_text()
    )
    assert f"{front} each, {worker} for a worker" in (ROOT / "docs/operations.md").read_text()
