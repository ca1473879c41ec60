"""What Celery says to people when it is told to stop, as a line of a log that machines read."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime


def say_as_json(message: str, _file: object = None) -> None:
    """Write the message as the log would, past everything: this is called while a signal is handled."""
    line = {
        "logger": "celery",
        "level": "info",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "message": message,
    }
    os.write(2, f"{json.dumps(line)}\n".encode())
