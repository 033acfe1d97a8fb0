"""Real datasets by name come from the cache as they are, or the error says what was tried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchsuite.data import datasets
from benchsuite.data.examples import Document
from benchsuite.data.hub import last_word
from benchsuite.data.wikitext import pages
from benchsuite.errors import FileFormatError, UnavailableError
from benchsuite.evals import perplexity
from benchsuite.models import TINY
from benchsuite.models.resolve import load_directory


def test_wikitext2_is_62_pages_of_4358_rows(hub_cache: Path) -> None:
    examples = datasets["wikitext2"].load("test", None)
    pages = [item for item in examples.items if isinstance(item, Document)]
    assert len(pages) == 62
    assert sum(len(page.rows) for page in pages) == 4_358
    assert pages[0].original.startswith(" = Robert Boulter = \n \n Robert Boulter is")
    assert examples.limited is None


def test_gsm8k_takes_its_shots_from_the_train_split(hub_cache: Path) -> None:
    examples = datasets["gsm8k"].load("test", 3)
    assert (len(examples.items), examples.limited, len(examples.shots)) == (3, 3, 5)
    assert examples.shots[0].question.startswith("Natalia sold clips")


def test_ag_news_has_four_classes(hub_cache: Path) -> None:
    examples = datasets["ag_news"].load("test", None)
    assert examples.labels == ("World", "Sports", "Business", "Sci/Tech")
    assert len(examples.items) == 7_600


@pytest.mark.parametrize(("name", "split"), [("lambada", "test"), ("wikitext103", "test"), ("ag_news", "validation")])
def test_what_is_not_in_reach_says_what_was_tried_and_what_to_do(hub_cache: Path, name: str, split: str) -> None:
    with pytest.raises(UnavailableError, match=f"the {split} split of .* the cache only .* --dataset PATH"):
        datasets[name].load(split, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("info", [b"{}", b"[]", b"null", b'{"config_name": "default", "features": 5}', b"[" * 100_000])
def test_a_cache_that_says_nothing_of_its_dataset_is_named(cache: Path, info: bytes) -> None:
    in_cache(cache, "EleutherAI/lambada_openai", "default", ["She said no"])
    next(cache.rglob("dataset_info.json")).write_bytes(info)
    with pytest.raises(FileFormatError, match=r"test split of .*lambada_openai \(default\) is damaged in .* remove it"):
        datasets["lambada"].load("test", None)


def test_rows_that_are_no_text_are_named_before_they_are_read(cache: Path) -> None:
    in_cache(cache, "EleutherAI/lambada_openai", "default", ["She said no"])
    arrow = next(cache.rglob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes().replace(b"said", b"\xff" * 4))
    with pytest.raises(FileFormatError, match=r"lambada_openai \(default\) is damaged in .* Invalid UTF8"):
        datasets["lambada"].load("test", None)


@pytest.mark.parametrize(("text", "word"), [("He said no", " no"), ("He said  no", "  no"), ("No", "No")])
def test_the_last_word_begins_with_the_white_space_before_it(text: str, word: str) -> None:
    assert last_word(text) == word


def in_cache(home: Path, hub_id: str, config: str, rows: list[str]) -> None:
    """A split of texts as `datasets` keeps it in its cache."""
    import datasets as hub
    from datasets.arrow_writer import ArrowWriter

    name = hub_id.split("/")[1]
    folder = home / "datasets" / hub_id.replace("/", "___") / config / "0.0.0" / "mirror"
    folder.mkdir(parents=True)
    writer = ArrowWriter(path=str(folder / f"{name}-test.arrow"), features=hub.Features({"text": hub.Value("string")}))
    for row in rows:
        writer.write({"text": row})
    writer.finalize()
    info = {
        "features": {"text": {"dtype": "string", "_type": "Value"}},
        "builder_name": "parquet",
        "dataset_name": name,
        "config_name": config,
        "version": {"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0},
        "splits": {"test": {"name": "test", "num_examples": len(rows), "dataset_name": name}},
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of datasets, and no network."""
    import datasets as hub
    import huggingface_hub.constants

    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(hub.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_lambada_is_its_passages_with_the_last_word_as_what_is_scored(cache: Path) -> None:
    in_cache(cache, "EleutherAI/lambada_openai", "default", ["He came and went away", "She said no"])
    examples = datasets["lambada"].load("test", None)
    assert examples.items == (
        Document("He came and went away", ending=" away"),
        Document("She said no", ending=" no"),
    )
    found = perplexity.evaluate(load_directory(TINY, "tiny"), examples, batch_size=2).metrics
    assert found["perplexity"].unit == "ppl/word"
    assert found["accuracy"].n == 2


@pytest.mark.parametrize(
    ("name", "config"), [("wikitext103", "wikitext-103-raw-v1"), ("wikitext2-tokens", "wikitext-2-v1")]
)
def test_other_wikitexts_are_read_as_wikitext2_is(cache: Path, name: str, config: str) -> None:
    rows = ["", " = One = \n", "", " Some text . \n", " = Two = \n", " More . \n"]
    in_cache(cache, "Salesforce/wikitext", config, rows)
    examples = datasets[name].load("test", 1)
    assert (examples.dataset, examples.limited) == (name, 1)
    assert examples.items == pages(rows)[:1]
    assert [datasets[name].load("test", limit).limited for limit in (2, 10**6, None)] == [None, None, None]
