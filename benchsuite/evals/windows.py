"""Which tokens are seen and which are scored: the windows of each perplexity protocol, on plain numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Tokens `begin` to `end` of a stream are seen; those from `first` on are scored, each given all seen before it."""

    begin: int
    end: int
    first: int

    @property
    def scored(self) -> int:
        """How many tokens are scored."""
        return self.end - self.first


def sliding(tokens: int, context: int, stride: int) -> list[Window]:
    """The windows of transformers' documentation ("Perplexity of fixed-length models").

    A window begins at every `stride`, ends after `context` tokens or at the end of the stream, and scores what no
    window before it has seen. The first token of the stream, which nothing precedes, is not scored; nor is, where the
    stride is the context, that of any other window.

    >>> sliding(10, 4, 4)
    [Window(begin=0, end=4, first=1), Window(begin=4, end=8, first=5), Window(begin=8, end=10, first=9)]
    >>> sliding(7, 4, 2)
    [Window(begin=0, end=4, first=1), Window(begin=2, end=6, first=4), Window(begin=4, end=7, first=6)]
    """
    windows = []
    seen = 0
    for begin in range(0, tokens, stride):
        end = min(begin + context, tokens)
        window = Window(begin, end, max(seen, begin + 1))
        if window.scored:
            windows.append(window)
        seen = end
        if end == tokens:
            break
    return windows


def second_halves(tokens: int, context: int) -> list[Window]:
    """The windows of llama.cpp's `llama-perplexity`: whole disjoint ones, of which the second half is scored.

    The first scored token is the second one behind the middle: `context - context // 2 - 1` of each window are scored,
    of two tokens none.

    >>> second_halves(9, 4)
    [Window(begin=0, end=4, first=3), Window(begin=4, end=8, first=7)]
    >>> second_halves(9, 2)
    []
    """
    windows = [
        Window(begin, begin + context, begin + context // 2 + 1) for begin in range(0, tokens - context + 1, context)
    ]
    return [window for window in windows if window.scored > 0]


def rolling(tokens: int, context: int) -> list[Window]:
    """The windows of lm-evaluation-harness's `loglikelihood_rolling` over a stream that begins with a prefix token.

    All `tokens` of the stream but the prefix are scored once, `context` at a time; a window sees `context` tokens
    before its last one, so that all but the last see one token before what they score, and the last sees all it can.

    >>> rolling(9, 3)
    [Window(begin=0, end=4, first=1), Window(begin=3, end=7, first=4), Window(begin=5, end=9, first=7)]
    """
    windows = []
    for first in range(1, tokens, context):
        end = min(first + context, tokens)
        windows.append(Window(max(0, end - context - 1), end, first))
    return windows
