"""Writes docs/cli.md from the tree of commands: `python -m sluice.cli.docs [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.generated_pages import write_or_check
from sluice.cli.completion import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent.parent.parent / "docs" / "cli.md"

INTRODUCTION = """\
# The command line

Generated from the commands themselves by `make docs-cli`: edit `sluice/cli/`, not this page.

`sluice --help` and `sluice COMMAND --help` say the same in the terminal. Commands that print data take `--json`; tables
are for people, and wide: `| less -S` keeps their lines whole. What is asked for goes to stdout, everything else to
stderr.

## Exit status

| status | means |
|---|---|
| 0 | done; of a check (`doctor`, `audit`): nothing is wrong |
| 1 | failed, and one line on stderr says why; of a check: something is wrong, and it is printed |
| 2 | wrong usage: an option or an argument is unknown, is missing, or makes no sense; nothing was done |
| 3 | the outcome is not known: it may still happen, or have happened. Do not simply ask again: see below |
| 130 | interrupted by Ctrl-C |

Status 3 means one of these. An order is still under way: `sluice commands wait` goes on waiting. A payment got no
answer: `sluice resend` sends the same package again, which is credited once. A deposit was not seen to become stable,
or a closing to end, in the time that `--timeout` gave. A rule of the audit could not be looked at.

## Completion

`sluice completion bash`, `zsh` or `fish` prints a script for the shell. `source <(sluice completion bash)` tries it. To
keep it:

```
sluice completion bash > ~/.local/share/bash-completion/completions/sluice
sluice completion zsh > ~/.zfunc/_sluice        # a directory of your fpath
sluice completion fish > ~/.config/fish/completions/sluice.fish
```

"""


def page() -> str:
    """Return the text of docs/cli.md."""
    from typer.main import get_command

    from sluice.cli.application import app

    tree: Any = get_command(app)
    with tree.make_context(PROGRAM, [], resilient_parsing=True) as context:
        listed = list(_walk(tree, context))
    lines = ["## Commands", "", "| command | does |", "|---|---|"]
    for path, command in listed:
        first = command.get_short_help_str(limit=200)
        lines.append(f"| [`{path}`](#{path.replace(' ', '-')}) | {_cell(first)} |")
    for path, command in listed:
        lines += ["", *_section(path, command)]
    return INTRODUCTION + "\n".join(lines) + "\n"


def _walk(command: Any, context: Any) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with the words that call it."""
    if not hasattr(command, "commands") or command.invoke_without_command:
        yield context.command_path, command
    for name in command.list_commands(context) if hasattr(command, "commands") else ():
        child = command.get_command(context, name)
        with child.make_context(name, [], parent=context, resilient_parsing=True) as inner:
            yield from _walk(child, inner)


def _section(path: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=path)
    yield f"### {path}"
    yield ""
    yield _text(command.help or "")
    yield ""
    yield f"    {path} {' '.join(command.collect_usage_pieces(context))}"
    yield ""
    described = [told for parameter in command.params if (told := parameter.get_help_record(context)) is not None]
    if described:
        yield "| | |"
        yield "|---|---|"
        yield from (f"| `{_cell(name.replace(' range>', '>'))}` | {_cell(meaning)} |" for name, meaning in described)
        yield ""
    yield f"Example: `{(command.epilog or '').removeprefix('Example: ')}`"


def _text(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the page; with `--check` only compare, and return 1 when it is out of date."""
    return write_or_check(PAGE, page, target="docs-cli", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
