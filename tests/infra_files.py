"""What tests of `infra/` read: strict YAML, Compose's variables, schemas."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "tests" / "vectors" / "infra"
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice: the first of the two would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if len(keys) != len(set(keys)):
            raise yaml.constructor.ConstructorError(None, None, f"a key stands twice among {keys}", node.start_mark)
        return super().construct_mapping(node, deep)


def documents(path: str) -> list[dict[str, Any]]:
    """All documents of a file in the repository."""
    return [found for found in yaml.load_all((ROOT / path).read_text(), _Strict) if found]


def document(path: str) -> dict[str, Any]:
    [only] = documents(path)
    return only


def compose() -> dict[str, Any]:
    """docker-compose.yml as Compose sees it when nothing is set."""
    text = _VARIABLE.sub(r"\2", (ROOT / "docker-compose.yml").read_text())
    assert "${" not in text, "every variable has a default"
    found = yaml.load(text, _Strict)  # noqa: S506 - a safe loader too
    assert isinstance(found, dict)
    return found


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    validator = jsonschema_rs.validator_for(schema)
    return [
        f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in validator.iter_errors(value)
    ]


def schema(name: str) -> dict[str, Any]:
    found = json.loads((SCHEMAS / name).read_text())
    assert isinstance(found, dict)
    return found


def env_file(path: str) -> dict[str, str]:
    lines = [line.strip() for line in (ROOT / path).read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
