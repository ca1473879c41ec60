from __future__ import annotations

from tests.integration.worker.conftest import expected_errors, world

__all__ = ["expected_errors", "world"]
