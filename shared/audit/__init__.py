"""The auditor: holds a live database against the rules about money (`sluice audit`).

`registry` has every rule: what must hold, and how it is looked for; new rules are added there. `auditing` goes through
the books once, in one snapshot, page by page, and collects what breaks a rule. `packages` judges signed packages and
addresses, which no statement can. `holdings` compares channels with what a hub says of their agents.
"""

from shared.audit.auditing import Audit, AuditInterruptedError, Finding, Report
from shared.audit.registry import RULES, Rule

__all__ = ["RULES", "Audit", "AuditInterruptedError", "Finding", "Report", "Rule"]
