"""Fixtures of the whole test suite."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def hub_cache(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The developers' datasets and no network: a copy, since `datasets` writes locks beside what it reads."""
    import datasets
    import huggingface_hub.constants

    home = tmp_path_factory.mktemp("hf")
    for source in (shared / "hf" / "datasets").rglob("*.*"):
        if source.is_file():
            target = home / source.relative_to(shared / "hf")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield home
