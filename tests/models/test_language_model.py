"""Scoring and generating give the same numbers whatever the batch, the prefix and the family."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import transformers
from hypothesis import example, given

from benchsuite.errors import DataError, NumericalError, UsageError
from benchsuite.models.language_model import LanguageModel, Sequenced, generate, most_likely, score
from benchsuite.models.resolve import load_directory
from benchsuite.models.transformers_model import load_transformers

SEQUENCES = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16, 17], [18, 19, 20]]


@pytest.fixture(params=["native", "transformers"])
def model(request: pytest.FixtureRequest, small_directory: Path) -> LanguageModel:
    if request.param == "native":
        return load_directory(small_directory, "small")
    return load_transformers(small_directory, "small", device="cpu", attention="sdpa")


def totals(model: LanguageModel, sequences: list[Sequenced], **options: object) -> list[float]:
    found = dict(score(model, sequences, **options))  # type: ignore[arg-type]
    return [found[index].total for index in range(len(sequences))]


def test_log_likelihoods_are_those_of_transformers(model: LanguageModel, small_directory: Path) -> None:
    reference = transformers.GPT2LMHeadModel.from_pretrained(small_directory).eval()
    found = dict(score(model, [Sequenced(ids, 2) for ids in SEQUENCES if len(ids) > 2], batch_size=2))
    for index, ids in enumerate(ids for ids in SEQUENCES if len(ids) > 2):
        with torch.inference_mode():
            logs = reference(torch.tensor([ids])).logits[0].log_softmax(-1)
        wanted = [logs[at - 1, ids[at]].item() for at in range(2, len(ids))]
        np.testing.assert_allclose(found[index].log_likelihood, wanted, atol=1e-4)
        assert found[index].greedy.tolist() == [logs[at - 1].argmax().item() == ids[at] for at in range(2, len(ids))]


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_the_batch_size_does_not_change_a_score(model: LanguageModel, batch_size: int) -> None:
    sequences = [Sequenced(ids) for ids in SEQUENCES]
    np.testing.assert_allclose(
        totals(model, sequences, batch_size=batch_size), totals(model, sequences, batch_size=2), rtol=1e-6
    )


@pytest.mark.parametrize("prefix", [[1], [1, 2, 3]])
def test_a_shared_prefix_is_the_same_as_writing_it_before_each_sequence(
    model: LanguageModel, prefix: list[int]
) -> None:
    shared = totals(model, [Sequenced(ids, 0) for ids in SEQUENCES], batch_size=3, prefix=prefix)
    written = totals(model, [Sequenced(prefix + ids, len(prefix)) for ids in SEQUENCES], batch_size=3)
    np.testing.assert_allclose(shared, written, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("prefix", [[], [1, 2, 3]])
def test_greedy_tokens_are_those_of_transformers(
    model: LanguageModel, small_directory: Path, batch_size: int, prefix: list[int]
) -> None:
    reference = transformers.GPT2LMHeadModel.from_pretrained(small_directory).eval()
    end = model.tokenizer.end_of_text_id
    found = dict(generate(model, SEQUENCES, max_new_tokens=20, batch_size=batch_size, prefix=prefix))
    for index, ids in enumerate(SEQUENCES):
        prompt = torch.tensor([prefix + ids])
        wanted = reference.generate(prompt, max_new_tokens=20, do_sample=False, eos_token_id=end)[0, prompt.shape[1] :]
        assert found[index] == [token for token in wanted.tolist() if token != end]


def test_generation_stops_where_the_context_is_full(model: LanguageModel) -> None:
    [(_, tokens)] = generate(model, [list(range(1, 61))], max_new_tokens=50, batch_size=1)
    assert len(tokens) <= 64 - 60 + 1  # the last token needs no place of its own


def test_generation_stops_where_the_caller_says_so(model: LanguageModel) -> None:
    found = dict(generate(model, SEQUENCES, max_new_tokens=9, batch_size=4, finished=lambda new: len(new) >= 3))
    assert all(len(tokens) <= 3 for tokens in found.values())


def test_rows_that_leave_a_ragged_batch_change_nothing_for_the_others(model: LanguageModel) -> None:
    prompts = [list(range(1, length + 1)) for length in (9, 2, 30, 5)]

    def answers(batch_size: int) -> dict[int, list[int]]:
        def finished(new: list[int]) -> bool:
            return len(new) >= 2 + new[0] % 7

        return dict(generate(model, prompts, max_new_tokens=12, batch_size=batch_size, finished=finished))

    alone = answers(1)
    assert len({len(tokens) for tokens in alone.values()}) > 1
    assert answers(4) == alone


def test_generation_ends_before_an_end_of_text(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    [(_, whole)] = generate(model, SEQUENCES[:1], max_new_tokens=8, batch_size=1)
    monkeypatch.setattr(model.tokenizer, "end_of_text_id", whole[3])
    [(_, tokens)] = generate(model, SEQUENCES[:1], max_new_tokens=8, batch_size=1)
    assert tokens == whole[: whole.index(whole[3])]


def test_what_does_not_fit_is_refused_before_anything_runs(model: LanguageModel) -> None:
    with pytest.raises(DataError, match="sequence 1"):
        list(score(model, [Sequenced([1, 2]), Sequenced(list(range(70)))], batch_size=1))
    with pytest.raises(DataError, match="prompt 0"):
        list(generate(model, [[]], max_new_tokens=1, batch_size=1))
    with pytest.raises(UsageError, match="batch size"):
        list(score(model, [Sequenced([1, 2])], batch_size=0))
    with pytest.raises(UsageError, match="at least one token"):
        list(generate(model, [[1]], max_new_tokens=0, batch_size=1))


def test_damaged_weights_are_an_error_and_never_a_number(small_directory: Path) -> None:
    model = load_directory(small_directory, "small")
    with torch.no_grad():
        model.module.wte.weight[3] = float("nan")  # type: ignore[union-attr, operator]
    with pytest.raises(NumericalError, match="NaN or infinite"):
        list(score(model, [Sequenced([3, 4])], batch_size=1))
    with pytest.raises(NumericalError, match="NaN or infinite"):
        list(generate(model, [[3, 4]], max_new_tokens=2, batch_size=1))


@given(rows=st.integers(1, 12), tokens=st.integers(1, 1700), seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 40))
@example(rows=8, tokens=1025, seed=0, levels=1)
@example(rows=8, tokens=1024, seed=0, levels=2)
def test_the_most_likely_token_is_the_first_of_those_with_the_largest_logit(
    rows: int, tokens: int, seed: int, levels: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(0, levels, (rows, tokens), generator=generator).float()  # ties in every row
    logits[0, torch.randint(0, tokens, (1,), generator=generator)] = float("nan")
    best, at = most_likely(logits)
    wanted = logits.max(dim=-1)
    assert torch.equal(at, wanted.indices)
    torch.testing.assert_close(best, wanted.values, equal_nan=True, rtol=0, atol=0)
