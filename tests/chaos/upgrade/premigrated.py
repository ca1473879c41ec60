"""A pytest plugin: every database that a test asks for is one in the middle of a release.

It has all steps of the older release and the expanding ones of the newer, and none of the newer's contracting steps.
The plugin runs in the tests of either release, so it knows nothing of them but `shared.store.migrations`.

Environment: `PREMIGRATED_OLDER` and `PREMIGRATED_NEWER`, the trees of the two releases.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from shared.store import migrations

_STEPS = {"PREMIGRATED_OLDER": "all", "PREMIGRATED_NEWER": "pre"}
_CODE = "import sys; from shared.store.migrations import migrate; migrate(*sys.argv[1:])"


def migrate_to_the_middle(dsn: str, *_: Any, **__: Any) -> migrations.Revisions:
    """Stand in for `migrate` of the release whose tests run."""
    for tree, phase in _STEPS.items():
        subprocess.run([sys.executable, "-c", _CODE, dsn, phase], cwd=os.environ[tree], check=True)
    return migrations.current(dsn)


migrations.migrate = migrate_to_the_middle
