"""Tests on the production shape as processes."""

from tests.integration.infra.conftest import needs_nginx

__all__ = ["needs_nginx"]
