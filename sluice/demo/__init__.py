"""The demonstration behind `sluice demo`: one whole story (`story`), its wire and its books.

It drives the real machine and the real payer, and believes the ledger rather than either of them.
"""

from __future__ import annotations

from sluice.demo.story import run

__all__ = ["run"]
