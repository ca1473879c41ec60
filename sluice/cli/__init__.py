"""The command line: `sluice --help`. One module per group of commands; each imports what it needs when it runs."""

from sluice.cli.application import main

__all__ = ["main"]
