"""Values that hold what must not be seen: packages, signatures, what payers and the application say to each other."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Discreet(msgspec.Struct, frozen=True):
    """A struct of which only what `shown` names is seen, whoever shows it: a log, an error, a debugger."""

    shown: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        """Show what may be seen."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """As `repr`, for rich, which would show everything."""
        return [(name, getattr(self, name)) for name in self.shown]
