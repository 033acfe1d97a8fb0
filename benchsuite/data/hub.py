"""Real datasets by name, through `datasets`: from its cache, or downloaded by the usual rules of the hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchsuite.data import datasets as registry
from benchsuite.data.examples import Document, Examples, LabelledText, Problem, Source, Split, take
from benchsuite.data.wikitext import pages
from benchsuite.errors import FileFormatError, UnavailableError, first_line

GSM8K_SHOTS = 5


def fetch(hub_id: str, config: str | None, split: Split) -> Any:
    """One split of a dataset as `datasets.Dataset`.

    `HF_HOME`, `HF_HUB_OFFLINE` and `HF_TOKEN` mean what they mean everywhere. Raises UnavailableError saying what was
    tried and how the data can be had, FileFormatError where what is in the cache is damaged.
    """
    import datasets
    from pyarrow import ArrowInvalid

    name = hub_id if config is None else f"{hub_id} ({config})"
    try:
        rows = datasets.load_dataset(hub_id, config, split=split)
        rows.data.validate(full=True)  # whoever reads a damaged row knows neither the dataset nor what to do
    except (ArrowInvalid, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise FileFormatError(
            f"the {split} split of {name} is damaged in {datasets.config.HF_DATASETS_CACHE}: {type(error).__name__}: "
            f"{first_line(error)}; remove it there, and it is downloaded again"
        ) from error
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        tried = (
            "the cache only (HF_HUB_OFFLINE is set)" if datasets.config.HF_HUB_OFFLINE else "the cache, then the hub"
        )
        reason = first_line(error).rstrip(".")
        raise UnavailableError(
            f"the {split} split of {name} is not here: tried {tried}, "
            f"in {datasets.config.HF_DATASETS_CACHE}: {reason}. With a network and without HF_HUB_OFFLINE it is "
            "downloaded; or name a file of your own in its place (`pytest bench --dataset PATH --task TASK`)"
        ) from error
    return rows


def _wikitext(name: str, config: str) -> Callable[[Split, int | None], Examples]:
    def load(split: Split, limit: int | None) -> Examples:
        items, limited = take(pages(fetch("Salesforce/wikitext", config, split)["text"]), limit)
        return Examples(name, "lm", split, items, limited=limited)

    return load


def _lambada(split: Split, limit: int | None) -> Examples:
    texts = fetch("EleutherAI/lambada_openai", "default", split)["text"]
    items, limited = take((Document(text, ending=last_word(text)) for text in texts), limit)
    return Examples("lambada", "lm", split, items, limited=limited)


def last_word(text: str) -> str:
    """The last word of a passage and the white space before it, which belongs to what is predicted.

    >>> last_word("He said no")
    ' no'
    """
    return text[len(text.rpartition(" ")[0].rstrip()) :]


def _gsm8k(split: Split, limit: int | None) -> Examples:
    def problems(split: Split, limit: int | None) -> tuple[tuple[Problem, ...], int | None]:
        rows = fetch("openai/gsm8k", "main", split)
        items, limited = take((Problem(row["question"], row["answer"]) for row in rows), limit)
        return tuple(item for item in items if isinstance(item, Problem)), limited

    items, limited = problems(split, limit)
    shots, _ = problems("train", GSM8K_SHOTS)
    return Examples("gsm8k", "exact-match", split, items, shots=shots, limited=limited)


def _ag_news(split: Split, limit: int | None) -> Examples:
    rows = fetch("fancyzhx/ag_news", None, split)
    items, limited = take((LabelledText(row["text"], row["label"]) for row in rows), limit)
    labels = tuple(rows.features["label"].names)
    return Examples("ag_news", "classification", split, items, labels=labels, limited=limited)


for _source in (
    Source("wikitext2", "lm", _wikitext("wikitext2", "wikitext-2-raw-v1")),
    Source("wikitext2-tokens", "lm", _wikitext("wikitext2-tokens", "wikitext-2-v1")),  # rare words as <unk>
    Source("wikitext103", "lm", _wikitext("wikitext103", "wikitext-103-raw-v1")),  # its test split is WikiText-2's
    Source("lambada", "lm", _lambada),  # the last word of a passage, as OpenAI preprocessed it (Paperno et al. 2016)
    Source("gsm8k", "exact-match", _gsm8k),  # grade-school word problems (Cobbe et al. 2021)
    Source("ag_news", "classification", _ag_news),  # news of four topics (Zhang et al. 2015)
):
    registry.register(_source.name, _source)
