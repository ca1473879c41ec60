"""What tests of the edge and of the topology need."""

from __future__ import annotations

import pytest

from infra.topology import EdgeError, nginx_program


@pytest.fixture(scope="session")
def needs_nginx() -> None:
    try:
        nginx_program()
    except EdgeError as error:
        pytest.skip(str(error))
