"""How far a start has come: told to nobody, or to people at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


class Progress(Protocol):
    """Is told how far the start has come; `what` is a part of it, in words for people."""

    def starting(self, what: str) -> None:
        """Hear that `what` is being started."""

    def ready(self, what: str, detail: str, took_s: float) -> None:
        """Hear that `what` answers; `detail` says where or as whom."""

    def waiting(self, what: str, detail: str) -> None:
        """Hear that the start goes on without `what`, which may come later; `detail` says what that means."""

    def ended(self) -> None:
        """Hear that nothing more is being started, because all is ready or something failed."""


class Silent:
    """Tells nobody."""

    def starting(self, what: str) -> None:
        """Say nothing."""

    def ready(self, what: str, detail: str, took_s: float) -> None:
        """Say nothing."""

    def waiting(self, what: str, detail: str) -> None:
        """Say nothing."""

    def ended(self) -> None:
        """Say nothing."""


class Steps:
    """Prints a line for each part that is ready, and a spinner for the one that is not yet."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spinner: Status | None = None

    def starting(self, what: str) -> None:
        """Show what is being waited for."""
        self.ended()
        if self._console.is_terminal:
            self._spinner = self._console.status(f"starting {what}")
            self._spinner.start()

    def ready(self, what: str, detail: str, took_s: float) -> None:
        """Print the finished step."""
        self.ended()
        self._console.print(f"[green]✓[/] {what:<18} {detail}  [dim]{took_s:.1f} s[/]", soft_wrap=True)

    def waiting(self, what: str, detail: str) -> None:
        """Print what is still missing."""
        self.ended()
        self._console.print(f"[yellow]…[/] {what:<18} {detail}", soft_wrap=True)

    def ended(self) -> None:
        """Take the spinner away."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None
