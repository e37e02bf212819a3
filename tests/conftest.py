from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, outside the project; a test that asks for it is skipped where it is missing."""
    folder = Path(os.environ.get("AFFECTSTREAM_DATA", REPOSITORY / ".." / "shared" / "data")).resolve()
    if not (folder / "README.md").is_file():
        pytest.skip(f"no shared data at {folder} (set AFFECTSTREAM_DATA)")
    return folder
