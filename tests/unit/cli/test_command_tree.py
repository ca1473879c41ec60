"""What holds for every command, whoever adds it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from sluice.cli import docs
from sluice.cli.application import app

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTING = {"list", "show", "balance", "history", "address", "create", "wait", "doctor", "audit", "migrate", "fund"}
"""Names of commands that print data: scripts want it as JSON."""
OF_CONTRACT = (
    *("up", "demo", "front", "worker", "migrate", "pay", "doctor", "audit", "devnet", "devnet fund"),
    *("wallet init", "wallet address", "wallet balance", "keys create", "keys list", "keys revoke"),
    *("channels list", "channels show", "channels open", "channels deposit", "channels close", "channels sweep"),
    *("channels auto-refill", "payments list", "payments export"),
)


def _leaves(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    command = command or get_command(app)
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        yield path, command
    for name, child in children.items():
        yield from _leaves(child, (*path, name))


LEAVES = {" ".join(path): command for path, command in _leaves() if path}


def _parse(words: list[str]) -> None:
    """Parse a command line and run nothing. Raises click's usage errors."""
    command: Any = get_command(app)
    context = None
    while words:
        context = command.make_context(words[0], words[1:], parent=context)
        words = [*context._protected_args, *context.args]
        if words:
            command = command.get_command(context, words[0])
            assert command is not None, f"there is no command {words[0]}"


@pytest.mark.parametrize("path", LEAVES)
def test_every_example_can_be_typed(path: str) -> None:
    words = shlex.split(LEAVES[path].epilog.removeprefix("Example: "), comments=True)
    if ">" in words:
        words = words[: words.index(">")]

    assert " ".join(words).startswith(f"sluice {path}")
    _parse(words)


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_and_each_of_its_options_is_explained(path: str) -> None:
    command = LEAVES[path]

    assert command.help
    assert [parameter.name for parameter in command.params if not parameter.help] == []


@pytest.mark.parametrize("path", [path for path in LEAVES if path.split()[-1] in LISTING])
def test_what_prints_data_prints_it_as_json_too(path: str) -> None:
    assert "--json" in {word for parameter in LEAVES[path].params for word in parameter.opts}


def test_every_command_that_was_promised_is_there() -> None:
    assert set(OF_CONTRACT) - set(LEAVES) == set()


def test_the_page_of_all_commands_is_up_to_date() -> None:
    assert docs.PAGE.read_text(encoding="utf-8") == docs.page(), "run `make docs-cli`"


def test_the_page_names_every_command_and_every_option() -> None:
    page = docs.page()

    for path, command in LEAVES.items():
        section = page.partition(f"\n### sluice {path}\n")[2].partition("\n### ")[0]
        assert section, path
        for parameter in command.params:
            assert any(word in section for word in (*parameter.opts, parameter.metavar or "")), (path, parameter.name)
