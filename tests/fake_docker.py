"""A stand-in for the docker client and its engine: containers as a list, and what Compose's documentation says it does.

It knows the commands and options that `infra/compose/roll` uses and no others, and notes each call with how many fronts
could serve at that moment. As a program on PATH it keeps its state in the file that `FAKE_DOCKER` names.

    images: name → id, by which its containers behave: `good…` gets healthy and ready, `sick…` never gets healthy,
    `unready…` gets healthy and answers 503, `crashing…` is restarted, `second-sick…` is good once per service
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PROJECT = "sluice"
LOOKS_UNTIL_HEALTHY = 2
_LABEL = "com.docker.compose"
_FLAGS = {
    "compose config": {"--format": True},
    "compose run": {"--rm": False, "--no-deps": False, "-T": False, "--detach": False, "--name": True},
    "compose up": {
        **dict.fromkeys(["--detach", "--no-deps", "--no-build", "--no-recreate"], False),
        "--scale": True,
    },
    "image inspect": {"--format": True},
    "inspect": {"--type": True},
    "ps": {"--all": False, "--quiet": False, "--no-trunc": False, "--filter": True},
    "exec": {},
    "stop": {"-t": True},
    "rm": {"--force": False},
}
"""What each command takes, and whether a value follows: read in the references of docker and docker compose."""


class DockerError(Exception):
    """The client says so and ends with a status."""


@dataclass
class Box:
    """A container. `is_apart`: of `docker compose run`, without the service's name in the network."""

    id: str
    name: str
    service: str
    image: str
    status: str = "running"
    is_apart: bool = False
    looks: int = 0
    number: int = 0

    @property
    def kind(self) -> str:
        if self.image.startswith("second-sick"):
            return "sick" if self.number > 1 and not self.is_apart else "good"
        return self.image.partition("-")[0]

    @property
    def health(self) -> str:
        if self.looks < LOOKS_UNTIL_HEALTHY or self.kind == "crashing":
            return "starting"
        return "unhealthy" if self.kind == "sick" else "healthy"

    @property
    def serves(self) -> bool:
        return self.status == "running" and self.health == "healthy" and self.kind == "good"


@dataclass
class Call:
    """One call: its words, and the fronts that nginx finds: how many serve, and how many turn requests away."""

    words: list[str]
    serving: int
    deaf: int


@dataclass
class Docker:
    """The engine and its client."""

    images: dict[str, str]
    boxes: list[Box] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    made: int = 0
    active_worker: str = ""
    fails_at: str = ""
    """Calls that begin with these words fail."""

    @classmethod
    def with_services(cls, image: str = "good-1", **numbers: int) -> Docker:
        made = cls({"sluice:0.1.0": image})
        for service, number in numbers.items():
            for _ in range(number):
                made._make(service).looks = LOOKS_UNTIL_HEALTHY
        made.active_worker = next((box.id for box in made.boxes if box.service == "worker"), "")
        return made

    def of(self, service: str) -> list[Box]:
        return [box for box in self.boxes if box.service == service and not box.is_apart]

    def __call__(self, *words: str, shown: bool = False) -> str:
        self._note(words)
        if self.fails_at and " ".join(words).startswith(self.fails_at):
            raise DockerError("no")
        pair = " ".join(words[:2])
        command = pair if pair in _FLAGS else words[0]
        if command not in _FLAGS:
            raise DockerError(f"unknown command: {pair}")
        options, rest = _read(words[len(command.split()) :], _FLAGS[command])
        said: str = getattr(self, "_" + command.replace(" ", "_"))(options, rest)
        return said

    def _note(self, words: tuple[str, ...]) -> None:
        fronts = [box for box in self.of("front") if box.status == "running"]
        serving = sum(box.serves for box in fronts)
        self.calls.append(Call(list(words), serving, len(fronts) - serving))

    def _make(self, service: str, *, name: str = "") -> Box:
        self.made += 1
        number = 0 if name else max((box.number for box in self.of(service)), default=0) + 1
        image = self.images["sluice:0.1.0"]
        made = Box(
            f"{self.made:064x}",
            name or f"{PROJECT}-{service}-{number}",
            service,
            image,
            is_apart=bool(name),
            number=number,
        )
        self.boxes.append(made)
        if service == "worker" and not self.active_worker:
            self.active_worker = made.id
        return made

    def _find(self, name: str) -> Box:
        for box in self.boxes:
            if name in (box.id, box.name):
                return box
        raise DockerError(f"No such container: {name}")

    def _compose_config(self, options: dict[str, list[str]], rest: list[str]) -> str:
        assert options["--format"] == ["json"]
        services = {name: {"image": "sluice:0.1.0", "command": [name]} for name in ("front", "worker", "migrate")}
        return json.dumps({"name": PROJECT, "services": services})

    def _compose_run(self, options: dict[str, list[str]], rest: list[str]) -> str:
        assert "--no-deps" in options, "what it depends on would be made anew"
        if "--detach" in options:
            [service] = rest
            self._make(service, name=options["--name"][0])
        else:
            assert "--rm" in options
        return ""

    def _compose_up(self, options: dict[str, list[str]], rest: list[str]) -> str:
        assert "--no-deps" in options, "what it depends on would be made anew"
        assert "--detach" in options
        [service] = rest
        [(scaled, number)] = [scale.split("=") for scale in options["--scale"]]
        assert scaled == service
        there = self.of(service)
        if "--no-recreate" not in options:
            for box in there:
                box.image, box.looks = self.images["sluice:0.1.0"], 0
        for box in there[int(number) :]:
            self.boxes.remove(box)
        for box in there:
            box.status = "running"
        for _ in range(int(number) - len(there)):
            self._make(service)
        return ""

    def _image_inspect(self, options: dict[str, list[str]], rest: list[str]) -> str:
        [name] = rest
        if name not in self.images:
            raise DockerError(f"No such image: {name}")
        return f"{self.images[name]}\n"

    def _inspect(self, options: dict[str, list[str]], rest: list[str]) -> str:
        box = self._find(*rest)
        box.looks += 1
        state: dict[str, Any] = {"Status": box.status, "Health": {"Status": box.health}}
        restarts = 3 if box.kind == "crashing" else 0
        return json.dumps([{"Id": box.id, "Name": f"/{box.name}", "State": state, "RestartCount": restarts}])

    def _ps(self, options: dict[str, list[str]], rest: list[str]) -> str:
        wanted = dict(each.removeprefix("label=").split("=") for each in options["--filter"])
        assert {"--all", "--quiet", "--no-trunc"} <= options.keys()
        found = []
        for box in self.boxes:
            labels = {"project": PROJECT, "service": box.service, "oneoff": str(box.is_apart)}
            if all(labels[name.removeprefix(f"{_LABEL}.")] == value for name, value in wanted.items()):
                found.append(box.id)
        return "".join(f"{each}\n" for each in found)

    def _exec(self, options: dict[str, list[str]], rest: list[str]) -> str:
        box = self._find(rest[0])
        if box.status != "running" or box.health != "healthy":
            raise DockerError("connection refused")
        if box.service == "worker":
            unfit = int(box.kind == "unready")
            holds = int(box.id == self.active_worker)
            return f"200 # HELP\nsluice_lease_held {holds}.0\nsluice_stand_by_unfit {unfit}.0\n"
        return '503 {"reasons": ["schema_not_usable"]}\n' if box.kind == "unready" else '200 {"reasons": []}\n'

    def _stop(self, options: dict[str, list[str]], rest: list[str]) -> str:
        box = self._find(*rest)
        box.status = "exited"
        if box.id == self.active_worker:
            fit = [each for each in self.of("worker") if each.serves]
            self.active_worker = fit[0].id if fit else ""
        return ""

    def _rm(self, options: dict[str, list[str]], rest: list[str]) -> str:
        box = self._find(*rest)
        if box.status == "running" and "--force" not in options:
            raise DockerError("the container is running")
        self.boxes.remove(box)
        return ""


def _read(words: tuple[str, ...], known: dict[str, bool]) -> tuple[dict[str, list[str]], list[str]]:
    """Return options and what follows them."""
    options: dict[str, list[str]] = {}
    left = list(words)
    while left and left[0].startswith("-"):
        name = left.pop(0)
        if name not in known:
            raise DockerError(f"unknown flag: {name}")
        options.setdefault(name, []).extend([left.pop(0)] if known[name] else [])
    return options, left


def options_used() -> dict[str, set[str]]:
    """All options, by command."""
    return {command: set(flags) for command, flags in _FLAGS.items()}


def load(file: Path) -> Docker:
    found = json.loads(file.read_text())
    found["boxes"] = [Box(**box) for box in found["boxes"]]
    found["calls"] = [Call(**call) for call in found["calls"]]
    return Docker(**found)


def save(file: Path, engine: Docker) -> None:
    file.write_text(json.dumps(asdict(engine)))


def main() -> None:
    file = Path(os.environ["FAKE_DOCKER"])
    engine = load(file)
    try:
        sys.stdout.write(engine(*sys.argv[1:]))
    except DockerError as error:
        sys.exit(f"Error: {error}")
    finally:
        save(file, engine)


if __name__ == "__main__":
    main()
