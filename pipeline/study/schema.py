"""Renew config/schema.json: python -m rnnlimits.study.schema."""

from __future__ import annotations

import json
from pathlib import Path

from rnnlimits.study import json_schema

SCHEMA = Path(__file__).resolve().parent.parent.parent / "config" / "schema.json"
RENEW = "python -m rnnlimits.study.schema"


def schema_text() -> str:
    """The required contents of config/schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
