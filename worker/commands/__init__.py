"""What fronts and operators ask for: rows in `commands`, each carried out once, its outcome written back."""

from worker.commands.catalogue import CommandPace, Tools, all_kinds
from worker.commands.dispatcher import Commands
from worker.commands.opening import OpeningRules

__all__ = ["CommandPace", "Commands", "OpeningRules", "Tools", "all_kinds"]
