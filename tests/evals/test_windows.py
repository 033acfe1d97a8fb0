"""Each protocol's windows score what the tool that it comes from scores."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchsuite.evals.windows import rolling, second_halves, sliding

TOKENS = st.integers(2, 400)
CONTEXTS = st.integers(2, 60)


def scored(windows: list) -> list[int]:
    return [token for window in windows for token in range(window.first, window.end)]


@given(TOKENS, CONTEXTS, st.integers(1, 60))
def test_sliding_windows_are_those_of_the_documentation(tokens: int, context: int, stride: int) -> None:
    stride = min(stride, context)
    wanted = []
    previous_end = 0
    for begin in range(0, tokens, stride):
        end = min(begin + context, tokens)
        labels = [token for token in range(begin, end) if token >= end - (end - previous_end)]
        labels = [token for token in labels if token > begin]  # the shift drops the first label
        if labels:
            wanted.append((begin, end, labels))
        previous_end = end
        if end == tokens:
            break
    found = [(w.begin, w.end, list(range(w.first, w.end))) for w in sliding(tokens, context, stride)]
    assert found == wanted


@given(TOKENS, CONTEXTS)
def test_with_any_overlap_every_token_but_the_first_is_scored_once(tokens: int, context: int) -> None:
    assert scored(sliding(tokens, context, context - 1)) == list(range(1, tokens))


@given(TOKENS, CONTEXTS)
def test_second_halves_lie_in_whole_windows(tokens: int, context: int) -> None:
    windows = second_halves(tokens, context)
    assert len(windows) == (tokens // context if context > 2 else 0)
    assert all(w.scored == context - context // 2 - 1 and w.end == w.begin + context for w in windows)


@given(TOKENS, CONTEXTS)
def test_rolling_windows_score_every_token_behind_the_prefix_once(tokens: int, context: int) -> None:
    windows = rolling(tokens, context)
    assert scored(windows) == list(range(1, tokens))
    assert all(w.first - w.begin >= 1 and w.end - w.begin <= context + 1 for w in windows)


@given(TOKENS, CONTEXTS)
def test_only_the_last_rolling_window_sees_more_than_one_token_before_what_it_scores(tokens: int, context: int) -> None:
    *before, last = rolling(tokens, context)
    assert all(w.first - w.begin == 1 for w in before)
    assert last.end - last.begin == min(tokens, context + 1)
