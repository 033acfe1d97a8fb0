"""Real datasets by name, through `datasets`: from its cache, or downloaded by the usual rules of the hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchsuite.data import datasets as registry
from benchsuite.data.examples import Examples, LabelledText, Problem, Source, Split, take
from benchsuite.data.wikitext import pages
from benchsuite.errors import UnavailableError

GSM8K_SHOTS = 5


def fetch(hub_id: str, config: str | None, split: Split) -> Any:
    """One split of a dataset as `datasets.Dataset`.

    `HF_HOME`, `HF_HUB_OFFLINE` and `HF_TOKEN` mean what they mean everywhere. Raises UnavailableError saying what was
    tried and how the data can be had.
    """
    import datasets

    name = hub_id if config is None else f"{hub_id} ({config})"
    try:
        return datasets.load_dataset(hub_id, config, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        offline = datasets.config.HF_HUB_OFFLINE
        tried = "the cache only (HF_HUB_OFFLINE is set)" if offline else "the cache, then the hub"
        raise UnavailableError(
            f"the {split} split of {name} is not here: tried {tried}, in {datasets.config.HF_DATASETS_CACHE}: "
            f"{str(error).strip().splitlines()[0].rstrip('.')}. With a network and without HF_HUB_OFFLINE it is downloaded; "
            "or name a file of your own with --dataset PATH --task TASK"
        ) from error


def _wikitext(name: str, config: str) -> Callable[[Split, int | None], Examples]:
    def load(split: Split, limit: int | None) -> Examples:
        items, limited = take(pages(fetch("Salesforce/wikitext", config, split)["text"]), limit)
        return Examples(name, "lm", split, items, limited=limited)

    return load


def _gsm8k(split: Split, limit: int | None) -> Examples:
    def problems(split: Split, limit: int | None) -> tuple[tuple[Any, ...], int | None]:
        rows = fetch("openai/gsm8k", "main", split)
        return take([Problem(row["question"], row["answer"]) for row in rows], limit)

    items, limited = problems(split, limit)
    return Examples("gsm8k", "exact-match", split, items, shots=problems("train", GSM8K_SHOTS)[0], limited=limited)


def _ag_news(split: Split, limit: int | None) -> Examples:
    rows = fetch("fancyzhx/ag_news", None, split)
    items, limited = take([LabelledText(row["text"], row["label"]) for row in rows], limit)
    labels = tuple(rows.features["label"].names)
    return Examples("ag_news", "classification", split, items, labels=labels, limited=limited)


for _source in (
    Source("wikitext2", "lm", _wikitext("wikitext2", "wikitext-2-raw-v1"), "Wikipedia articles: WikiText-2 raw"),
    Source("gsm8k", "exact-match", _gsm8k, "grade-school word problems (Cobbe et al. 2021)"),
    Source("ag_news", "classification", _ag_news, "news of four topics (Zhang et al. 2015)"),
):
    registry.register(_source.name, _source)
