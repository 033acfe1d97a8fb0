"""lm-evaluation-harness itself, on the same directory model and the same local data."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

BATCH_SIZE = 8

Harness = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Run one of the harness's own tasks on local rows: `harness(path, "gsm8k", {"test": rows})` gives its results."""
    pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness: `pip install lm-eval`, or `tox -e parity`")
    import lm_eval
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    models: dict[Path, Any] = {}

    def run(path: Path, task: str, splits: dict[str, Sequence[dict[str, Any]]], **overrides: Any) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("rows")
        for split, rows in splits.items():
            (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        files = {split: str(folder / f"{split}.jsonl") for split in splits}
        data = {"task": task, "dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
        own = next(Path(lm_eval.__file__).parent.glob(f"tasks/*/{task}.yaml"), None)
        included = {} if own is None else {"include": str(own)}
        definition = folder / f"{task}.yaml"
        definition.write_text(json.dumps({**included, **data, **overrides}), encoding="utf-8")  # JSON is YAML
        if path not in models:
            models[path] = HFLM(pretrained=str(path), device="cpu", dtype="float32", batch_size=BATCH_SIZE)
        found = simple_evaluate(model=models[path], tasks=[str(definition)], bootstrap_iters=0, log_samples=True)
        return {"metrics": found["results"][task], "samples": found["samples"][task]}

    return run


@pytest.fixture(params=["tiny", "gpt2-wt2"])
def directory(request: pytest.FixtureRequest) -> Path:
    """The embedded model, and a trained one with GPT-2's own tokenizer where a developer has it."""
    from benchsuite.models import TINY

    if request.param == "tiny":
        return TINY
    folder: Path = request.getfixturevalue("shared") / "models" / "gpt2-wt2"
    return folder
