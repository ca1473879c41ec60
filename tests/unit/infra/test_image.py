"""The image: what goes in, and that it is what the project says."""

from __future__ import annotations

import re
import tomllib

from tests.infra_files import ROOT

DOCKERFILE = (ROOT / "infra/docker/Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOW = "run `make lock-image`"


def pins(path: str) -> dict[str, str]:
    """Name to version and hashes of each package in a lock."""
    text = (ROOT / path).read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if "==" in line]
    return {
        words[0].partition("==")[0]: " ".join([words[0], *sorted(word for word in words if word.startswith("--hash"))])
        for words in lines
    }


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ;]", line)[0].lower().replace("_", "-") for line in requirements}


def test_the_image_gets_the_very_packages_that_were_tested() -> None:
    everything = pins("requirements.lock")
    for lock in ("infra/docker/requirements.lock", "infra/docker/build.lock"):
        for name, pin in pins(lock).items():
            assert everything[name] == pin, HOW


def test_the_image_has_what_the_project_needs_and_no_tools() -> None:
    installed = set(pins("infra/docker/requirements.lock"))
    assert names(PROJECT["project"]["dependencies"]) <= installed, HOW
    tools = names(PROJECT["project"]["optional-dependencies"]["dev"]) - {"pyyaml"}
    assert not tools & installed
    assert not names(PROJECT["project"]["optional-dependencies"]["embedded"]) & installed


def test_every_package_is_copied_and_nothing_else_is_sent() -> None:
    copied = set(re.findall(r"^COPY (\w+) \w+$", DOCKERFILE, re.MULTILINE))
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert copied == packages
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignored
    sent = {line[1:] for line in ignored if line.startswith("!")}
    named = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {word for line in named for word in line.split()} == sent


def test_it_runs_as_nobody_of_note_without_tools() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "pip uninstall" in final
    assert "HEALTHCHECK" in final
    assert DOCKERFILE.count("--require-hashes") == 2
    assert not re.search(r"pip (--python \S+ )?install (?!--require-hashes|--no-deps)", DOCKERFILE)
    assert re.search(r"^ARG PYTHON=python:\d+\.\d+\.\d+-slim-bookworm$", DOCKERFILE, re.MULTILINE)
