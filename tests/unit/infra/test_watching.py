"""Prometheus, its alerts and the dashboard: their own checkers, and names that the code really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from shared.store.alarms import AlarmKind
from tests.infra_files import ROOT, compose, document
from worker.metrics import REGISTRY

PROMETHEUS = ROOT / "infra/prometheus"
DASHBOARD = json.loads((ROOT / "infra/grafana/dashboards/sluice.json").read_text())
RULES = [rule for group in document("infra/prometheus/alerts.yml")["groups"] for rule in group["rules"]]
_NAME = re.compile(r"\bsluice_[a-z_]+")


def metrics() -> set[str]:
    """Names as they are served: counters end in `_total`."""
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in REGISTRY.collect()}


def promtool(*words: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("there is no promtool (Debian: apt-get install prometheus)")
    done = subprocess.run([program, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration_and_rules() -> None:
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_alerts_wake_somebody_when_they_should_and_nobody_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("rules")
    shutil.copy(PROMETHEUS / "alerts.yml", directory)
    shutil.copy(ROOT / "tests/vectors/infra/alerts_test.yml", directory)
    promtool("test", "rules", str(directory / "alerts_test.yml"))


def test_every_alert_was_seen_firing() -> None:
    seen = set(re.findall(r"Sluice\w+", (ROOT / "tests/vectors/infra/alerts_test.yml").read_text()))
    assert {rule["alert"] for rule in RULES} == seen


def test_alerts_ask_for_metrics_that_there_are_and_say_what_to_do() -> None:
    for rule in RULES:
        assert set(_NAME.findall(rule["expr"])) <= metrics(), rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} <= set(rule["annotations"])
        kinds = set(re.findall(r"alarms? (\w+)", rule["annotations"]["description"]))
        assert not {kind for kind in kinds if "_" in kind} - set(AlarmKind)


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    exprs = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    asked = {name for expr in exprs for name in _NAME.findall(expr)}
    assert asked <= metrics()
    assert {"sluice_lease_held", "sluice_alarms", "sluice_closing_deadline_seconds"} <= asked


def test_the_dashboard_is_one_that_grafana_finds() -> None:
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identities) == len(set(identities))
    [source] = document("infra/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    asked = {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]}
    assert asked == {source["uid"]}
    [provider] = document("infra/grafana/provisioning/dashboards/sluice.yml")["providers"]
    mounted = [volume.split(":")[1] for volume in compose()["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
    assert source["url"] == "http://prometheus:9090"


def test_prometheus_finds_the_workers() -> None:
    scraped = {job["job_name"]: job for job in document("infra/prometheus/prometheus.yml")["scrape_configs"]}
    [found] = scraped["sluice-worker"]["dns_sd_configs"]
    worker = compose()["services"]["worker"]
    assert (found["names"], str(found["port"])) == (["worker"], worker["environment"]["SLUICE_WORKER_METRICS_PORT"])
    assert worker["environment"]["SLUICE_WORKER_METRICS_HOST"] == "0.0.0.0"  # noqa: S104 - in a network of its own
    assert set(worker["networks"]) & set(compose()["services"]["prometheus"]["networks"])
