"""The application as ASGI servers import it: `front.asgi:app`, configured by the environment."""

from __future__ import annotations

from front.app import create_app
from shared.logs import configure_logging
from shared.settings import load_settings

_settings = load_settings()
configure_logging(_settings)
app = create_app(_settings)
