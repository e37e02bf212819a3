"""`affectstream schema`: the JSON Schema of a prediction."""

from __future__ import annotations

import json
import sys


def schema() -> None:
    """Print the JSON Schema of a prediction."""
    from stream.prediction import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()
