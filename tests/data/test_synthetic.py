from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations, pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.data import datasets
from benchsuite.data.examples import Document, Example, Instruction, LabelledText, Problem, Split
from benchsuite.data.synthetic.splits import content, draw_split, owner, stream

SPLITS: tuple[Split, ...] = get_args(Split)
NAMES = ("prose", "arithmetic", "headlines", "instructions")
SIZES = {
    "prose": (20_000, 80, 80),
    "arithmetic": (60_000, 200, 250),
    "headlines": (24_000, 500, 1_000),
    "instructions": (935, 55, 110),
}
FINGERPRINTS: dict[str, tuple[str, str, str]] = {
    "prose": (
        "81478e086a104e719721096cda1049bab48e07594183c90914c675e2a064f324",
        "e5876f93837089719824e3b639c9fcb8a1ff2da4e50dbe5974c11f1b08ef4769",
        "59a1a70b4ae46688b73eceaa42946672556fc971e2e3677b3589d19a808df739",
    ),
    "arithmetic": (
        "80d613091f60b32aff4bc2c4bb9251be0792afba901d6cedbe4e25d103ee2152",
        "cb5c781ca7bf0938361aae76e5ce40ca8395f7ccbd5a9a9db9581def0466ae50",
        "0b9fc4e8cf7a7720456e673a7109e561fd447495db6ac3c755ba9c5fda02e6a5",
    ),
    "headlines": (
        "7206eb58413f29b297c2e26d5e4a9a6b462a1806641ab2cc1a5d006b62896da1",
        "38740a04b9be64cf9b3caab8885487932460502c479cb8383d4feaa6d3e92a9e",
        "6652663135822472731a08df9d3c72619f4b4b97a9c12515d2b72e5a013c1135",
    ),
    "instructions": (
        "aa16da19fdd937b7716720ca5c4b6ef450fec9a10b129e651721ec163b1eb3c3",
        "953aca97531da468aac2e64df62cc21e480e2b33fb169570c6f97e333fdc00d6",
        "7c1d5157e49f9939583c4d91162a0138a19916690d01d24862adac0785817ce4",
    ),
}


def asked(item: Example) -> str:
    """What makes an item the same as another one."""
    match item:
        case Document(text=text) | LabelledText(text=text):
            return content(text)
        case Problem(question=question):
            return content(question)
        case Instruction():
            return content(f"{item.instruction} {item.input}")


@pytest.mark.parametrize("name", NAMES)
def test_every_split_is_the_published_one_to_the_last_byte(name: str) -> None:
    assert tuple(datasets[name].load(split, None).fingerprint() for split in SPLITS) == FINGERPRINTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_no_item_is_in_two_splits_or_twice_in_one(name: str) -> None:
    splits = [[asked(item) for item in datasets[name].load(split, None).items] for split in SPLITS]
    assert tuple(map(len, splits)) == SIZES[name]
    for split in splits:
        assert len(set(split)) == len(split)
    for one, other in combinations(splits, 2):
        assert not set(one) & set(other)


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_gives_the_first_items_and_says_so(name: str) -> None:
    whole, limited = datasets[name].load("test", None), datasets[name].load("test", 7)
    assert limited.items == whole.items[:7]
    assert (whole.limited, limited.limited) == (None, 7)
    assert datasets[name].load("test", 100_000).limited is None


def test_the_shots_are_the_first_five_train_problems() -> None:
    assert datasets["arithmetic"].load("test", 1).shots == datasets["arithmetic"].load("train", 5).items


def test_hash_randomisation_and_the_process_change_nothing() -> None:
    program = (
        "from benchsuite.data import datasets\n"
        f"print([datasets[name].load('test', 40).fingerprint() for name in {NAMES!r}])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {f"{[datasets[name].load('test', 40).fingerprint() for name in NAMES]}\n"}


def test_generating_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from benchsuite.data import datasets\n"
        f"for name in {NAMES!r}: datasets[name].load('test', 3)\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'pandas', 'numpy', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("name", "words", "length", "new"), [("prose", 2_000, 12, 0.9), ("headlines", 900, 6, 0.9)])
def test_the_text_does_not_repeat_itself(name: str, words: int, length: int, new: float) -> None:
    items = datasets[name].load("train", 1_000).items
    texts = [content(item.text).split() for item in items if isinstance(item, Document | LabelledText)]
    assert len({word for text in texts for word in text}) > words
    phrases = [tuple(text[at : at + length]) for text in texts for at in range(len(text) - length + 1)]
    assert len(set(phrases)) / len(phrases) > new


@given(st.text())
def test_what_case_punctuation_and_spacing_change_is_the_same_item(text: str) -> None:
    assert content(f" {text.lower()} ") == content(text.lower() + "!?")
    assert owner(text) == owner(f"({text}) …")


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    draws = [draw_split("test", "train", size, lambda rng: str(rng.randrange(10**6)), str) for size in (1, 10, 300)]
    for shorter, longer in pairwise(draws):
        assert longer[: len(shorter)] == shorter


def test_streams_of_other_names_differ() -> None:
    assert stream("a", "b").random() == stream("a", "b").random() != stream("a", "c").random()
