"""`infra/compose/roll`, against a stand-in for docker: no engine runs here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import TYPE_CHECKING, Any

import pytest

from tests import fake_docker
from tests.fake_docker import Docker
from tests.infra_files import ROOT, compose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

SCRIPT = ROOT / "infra/compose/roll"
NEW = "good-2"


@pytest.fixture
def roll(tmp_path: Path) -> ModuleType:
    """The script as a module, with notes of its own."""
    loader = SourceFileLoader("roll", str(SCRIPT))
    spec = spec_from_loader("roll", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["roll"] = module  # dataclasses look there
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    module.NOTES = tmp_path / "notes"  # type: ignore[attr-defined]
    return module


class Stage:
    """A script that speaks to a stand-in."""

    def __init__(self, roll: ModuleType, engine: Docker) -> None:
        self.engine = engine
        self.slept_s: list[float] = []
        self._roll: Any = roll
        self._roll.docker = self._docker
        self.before: Callable[[int], None] = lambda _: None
        self.after: Callable[[int], None] = lambda _: None

    def _docker(self, *words: str, shown: bool = False) -> str:
        number = len(self.engine.calls)
        self.before(number)
        try:
            return self.engine(*words, shown=shown)
        except fake_docker.DockerError as error:
            raise self._roll.RollError(str(error)) from None
        finally:
            self.after(number)

    def run(self, *words: str) -> int:
        status: int = self._roll.main(words, sleep=self.slept_s.append)
        return status

    def images(self, service: str) -> list[str]:
        return [box.image for box in self.engine.of(service) if box.status == "running"]

    def least_serving(self) -> int:
        return min((call.serving for call in self.engine.calls), default=3)


@pytest.fixture
def stage(roll: ModuleType) -> Stage:
    engine = Docker.with_services(front=3, worker=2)
    engine.images["sluice:0.1.0"] = NEW
    return Stage(roll, engine)


def words_of(engine: Docker, *first: str) -> list[list[str]]:
    return [call.words for call in engine.calls if tuple(call.words[: len(first)]) == first]


def test_all_are_replaced_and_as_many_serve_at_every_moment(stage: Stage) -> None:
    assert stage.run() == 0
    assert stage.images("front") == [NEW] * 3
    assert stage.images("worker") == [NEW] * 2
    assert len(stage.engine.boxes) == 5, "nothing is left behind"
    assert stage.least_serving() == 3
    assert max(call.deaf for call in stage.engine.calls) == 1, "nginx tries three: it must not meet several deaf ones"
    assert not stage._roll.NOTES.read_text()


def test_the_schema_is_wider_before_anything_new_starts_and_workers_come_before_fronts(stage: Stage) -> None:
    stage.run()
    acts = [" ".join(call.words) for call in stage.engine.calls if call.words[0] in ("compose", "stop")][1:]
    assert acts[0].endswith("migrate sluice migrate --phase pre")
    kinds = [re.sub(r"^compose (up|run).* (\w+)$", r"\1 \2", act).partition(" -t")[0] for act in acts[1:]]
    assert kinds == ["up worker"] * 2 + ["stop"] * 2 + ["run front"] + ["up front"] * 3 + ["stop"] * 3


def test_the_active_worker_is_the_last_to_stop(stage: Stage) -> None:
    active = stage.engine.active_worker
    olds = {box.id for box in stage.engine.of("worker")}
    stage.run("--only", "worker")
    stopped = [words[-1] for words in words_of(stage.engine, "stop")]
    assert set(stopped) == olds
    assert stopped[-1] == active
    assert stage.engine.active_worker in {box.id for box in stage.engine.of("worker")}


def test_nginx_gets_the_time_to_find_a_new_front_and_to_forget_an_old_one(stage: Stage) -> None:
    edge = compose()["services"]["nginx"]["environment"]
    [valid] = re.findall(r"valid=(\d+)s", edge["EDGE_RESOLVER"])
    [left_out] = re.findall(r"fail_timeout=(\d+)s", edge["EDGE_FRONTS"])
    assert int(valid) + int(left_out) < stage._roll.SETTLE_S
    stage.run("--only", "front")
    assert stage.slept_s.count(stage._roll.SETTLE_S) == 6


def test_each_is_stopped_with_the_time_that_it_may_need(stage: Stage) -> None:
    stage.run()
    graces = {name: compose()["services"][name]["stop_grace_period"] for name in ("front", "worker")}
    assert {tuple(words[1:3]) for words in words_of(stage.engine, "stop")} == {("-t", str(stage._roll.GRACE_S))}
    assert max(int(grace.removesuffix("s")) for grace in graces.values()) <= stage._roll.GRACE_S


@pytest.mark.parametrize("image", ["sick-2", "unready-2", "crashing-2", "second-sick-2"])
@pytest.mark.parametrize("service", ["front", "worker"])
def test_a_new_one_that_does_not_become_ready_is_taken_back_and_the_old_ones_go_on(
    stage: Stage, service: str, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.engine.images["sluice:0.1.0"] = image
    before = {box.id for box in stage.engine.boxes}
    assert stage.run("--only", service) == 1
    assert {box.id for box in stage.engine.boxes if box.status == "running"} == before
    assert len(stage.engine.boxes) == 5
    assert stage.least_serving() == 3
    assert ("unready" in image) == (sum(stage.slept_s) >= stage._roll.PATIENCE_S), "there is nothing to wait for"
    told = capsys.readouterr().err
    assert f"the new sluice-{service}-" in told
    assert "go on" in told
    if service == "front" and image != "second-sick-2":
        assert max(call.deaf for call in stage.engine.calls) == 0, "nginx has never found it"

    stage.engine.images["sluice:0.1.0"] = NEW
    assert stage.run("--only", service) == 0
    assert set(stage.images(service)) == {NEW}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_it_goes_on_after_an_interruption_wherever_that_was(roll: ModuleType, moment: str) -> None:
    def begin() -> Docker:
        engine = Docker.with_services(front=2, worker=2)
        engine.images["sluice:0.1.0"] = NEW
        return engine

    whole = begin()
    assert Stage(roll, whole).run() == 0
    assert len(whole.calls) > 50

    for number in range(len(whole.calls)):
        engine = begin()
        again = Stage(roll, engine)
        setattr(again, moment, _interrupts_at(number))
        assert again.run() == 130, number
        setattr(again, moment, lambda _: None)
        assert again.run() == 0, number
        assert (again.images("front"), again.images("worker")) == ([NEW] * 2, [NEW] * 2), number
        assert len(engine.boxes) == 4
        assert again.least_serving() >= 2, number
        assert len(words_of(engine, "stop")) <= 5, "nothing is done twice, but for the call that was interrupted"


def _interrupts_at(number: int) -> Callable[[int], None]:
    def interrupt(now: int) -> None:
        if now == number:
            raise KeyboardInterrupt

    return interrupt


def test_another_image_after_an_interruption_replaces_what_was_new_then(stage: Stage) -> None:
    def interrupt(_: int) -> None:
        if len(stage.images("front")) == 5:
            raise KeyboardInterrupt

    stage.after = interrupt
    assert stage.run("--only", "front") == 130
    stage.after = lambda _: None
    stage.engine.images["sluice:0.1.0"] = "good-3"
    assert stage.run("--only", "front") == 0
    assert stage.images("front") == ["good-3"] * 3


def test_a_new_one_that_falls_ill_when_old_ones_are_gone_takes_no_other_with_it(stage: Stage) -> None:
    stage.after = lambda _: _interrupts_at(1)(len(words_of(stage.engine, "stop")))
    assert stage.run("--only", "front") == 130
    stage.after = lambda _: None
    ill = next(box for box in stage.engine.of("front") if box.image == NEW)
    ill.image = "sick-2"
    assert stage.run("--only", "front") == 1
    assert ill not in stage.engine.boxes
    assert sorted(stage.images("front")) == ["good-1", "good-1", NEW, NEW]
    assert stage.run("--only", "front") == 0
    assert stage.images("front") == [NEW] * 3


@pytest.mark.parametrize("number", [1, 5])
def test_it_ends_with_the_number_that_is_wished(stage: Stage, number: int) -> None:
    assert stage.run("--only", "front", "--fronts", str(number)) == 0
    assert stage.images("front") == [NEW] * number


def test_one_that_was_stopped_by_hand_is_neither_started_nor_replaced(stage: Stage) -> None:
    stage.engine._make("front").status = "exited"
    assert stage.run("--only", "front") == 0
    assert stage.images("front") == [NEW] * 3
    assert len(stage.engine.of("front")) == 3


@pytest.mark.parametrize("words", ["image inspect", "compose config", "compose run --rm", "compose run --detach"])
def test_a_command_that_fails_before_anything_new_runs_changes_nothing(stage: Stage, words: str) -> None:
    before = {box.id for box in stage.engine.boxes}
    stage.engine.fails_at = words
    assert stage.run("--only", "front") == 1
    assert {box.id for box in stage.engine.boxes if box.status == "running"} == before


def test_without_anything_that_runs_it_says_how_to_start(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.engine.boxes.clear()
    assert stage.run() == 1
    assert "docker compose up --detach --wait" in capsys.readouterr().err


def test_two_do_not_roll_at_the_same_time(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    with stage._roll.Notes(stage._roll.NOTES):
        assert stage.run() == 1
    assert "another roll is under way" in capsys.readouterr().err


def test_as_a_program_with_docker_on_the_path(tmp_path: Path) -> None:
    here = tmp_path / "infra" / "compose"
    here.mkdir(parents=True)
    shutil.copy(SCRIPT, here)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {fake_docker.__file__} "$@"\n')
    (programs / "docker").chmod(0o755)
    engine = Docker.with_services(front=1)
    engine.images["sluice:0.1.0"] = NEW
    fake_docker.save(tmp_path / "state", engine)
    there = {"PATH": f"{programs}:{os.environ['PATH']}", "FAKE_DOCKER": str(tmp_path / "state")}
    done = subprocess.run(
        [here / "roll", "--only", "front", "--settle", "0"], check=False, capture_output=True, text=True, env=there
    )
    assert done.returncode == 0, done.stderr
    assert "front: 1 new, no old ones" in done.stdout
    assert [box.image for box in fake_docker.load(tmp_path / "state").boxes] == [NEW]


def test_every_option_is_one_of_the_docker_client_that_is_here() -> None:
    """Those of `docker compose`, which is a plugin, were read in its reference."""
    program = shutil.which("docker")
    if program is None:
        pytest.skip("no docker client")
    for command, options in fake_docker.options_used().items():
        if command.startswith("compose"):
            continue
        told = subprocess.run([program, *command.split(), "--help"], check=True, capture_output=True, text=True).stdout
        assert options <= set(re.findall(r"(?<![\w-])--?[\w-]+", told)), command


def test_its_help_has_an_example() -> None:
    told = subprocess.run([SCRIPT, "--help"], check=True, capture_output=True, text=True).stdout
    assert "\n  infra/compose/roll --fronts 4" in told
