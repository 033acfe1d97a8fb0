"""Fixtures of the whole test suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=5_000)
settings.load_profile("default")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and a trained model that developers have beside the checkout."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "models" / "gpt2-wt2").is_dir():
        pytest.skip(f"needs the developers' data in {folder}")
    return folder
