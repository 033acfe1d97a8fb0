"""Perplexity, every protocol by its name, several of them out of one pass over the text.

The protocols (`docs/evaluations.md` tells what each is for):

- `token`: transformers' sliding windows at stride = window over the rows joined by blank lines;
- `stride512`: the same windows at stride 512;
- `llama.cpp`: the second halves of the windows of `token`;
- `document`: lm-evaluation-harness's rolling windows, document by document: per word, per byte, bits per byte.

Documents of which only the ending is scored go to `last_word.py`.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchsuite.data.examples import Document, Examples
from benchsuite.errors import DataError
from benchsuite.evals import evaluation, last_word
from benchsuite.evals.evaluation import Evaluation, Progress, Work, quiet
from benchsuite.evals.windows import Window, rolling, second_halves, sliding
from benchsuite.models.language_model import LanguageModel, Sequenced, score
from benchsuite.record import Metric, Windows

PROTOCOLS = ("token", "stride512", "llama.cpp", "document")
SEPARATOR = "\n\n"
STRIDE = 512


def evaluate(
    model: LanguageModel,
    examples: Examples,
    *,
    batch_size: int,
    progress: Progress = quiet,
    protocols: Sequence[str] = PROTOCOLS,
) -> Evaluation:
    """The perplexities of a model on documents.

    Windows of one document are one cluster of the intervals. `stride512` is left out where the context is no longer
    than that, since it would be `token` again. Raises DataError where there is nothing to score.
    """
    documents = _documents(examples)
    if documents[0].ending:
        return last_word.evaluate(model, examples, documents, batch_size=batch_size, progress=progress)
    context = model.n_positions
    stream, clusters = joined(model, examples)
    plans = _plans(len(stream), context, protocols)
    texts = model.tokenizer.encode_batch([document.text for document in documents])
    prefixed = [[model.tokenizer.end_of_text_id, *ids] for ids in texts if "document" in protocols]

    seen = _merged([window for plan in plans.values() for window in plan])
    pages = [(index, window) for index, ids in enumerate(prefixed) for window in rolling(len(ids), context)]
    sequences = [_sequenced(stream, window) for window in seen]
    sequences += [_sequenced(prefixed[index], window) for index, window in pages]
    found = _score_all(model, sequences, batch_size, progress)
    alone = _score_all(model, sequences[:batch_size], 1, quiet)

    of_stream = {(window.begin, window.end): values for window, values in zip(seen, found, strict=False)}
    metrics = {
        metric: evaluation.perplexity(evidence(plans[name], of_stream, clusters))
        for name, (metric, evidence) in _OF_STREAM.items()
        if plans.get(name)
    }
    if pages:
        totals = [0.0] * len(documents)
        for (index, _), values in zip(pages, found[len(seen) :], strict=True):
            totals[index] += float(values.sum())
        metrics |= _per_document(documents, totals)
    metrics["batch_invariance"] = evaluation.batch_invariance(
        [values.sum() for values in found[:batch_size]], [values.sum() for values in alone]
    )
    return Evaluation(
        metrics,
        protocol={
            "protocols": [name for name in PROTOCOLS if name in plans or (name == "document" and pages)],
            "window": context,
            "separator": SEPARATOR,
            "prefix": "end of text",
        },
        items=tuple(_items(model, stream, seen, found)),
        excluded=dict(examples.excluded)
        | evaluation.counted(documents_without_text=len(examples.items) - len(documents)),
        details={"tokens": len(stream), "documents": len(documents)},
    )


def work(model: LanguageModel, examples: Examples, *, batch_size: int) -> Work:
    """One batch of windows of `token`, scored whole."""
    documents = _documents(examples)
    if documents[0].ending:
        return last_word.work(model, examples, documents, batch_size=batch_size)
    stream, _ = joined(model, examples)
    windows = sliding(len(stream), model.n_positions, model.n_positions)[:batch_size]
    sequences = [_sequenced(stream, window) for window in windows]

    def run() -> None:
        for _ in score(model, sequences, batch_size=batch_size):
            pass

    return Work(run, sum(window.scored for window in windows), len(windows))


def _documents(examples: Examples) -> list[Document]:
    documents = [item for item in examples.items if isinstance(item, Document) and item.text.strip()]
    if not documents:
        raise DataError(f"{examples.where}: no document with text; there is nothing to score")
    return documents


def joined(model: LanguageModel, examples: Examples) -> tuple[list[int], NDArray[np.int64]]:
    """The tokens of all rows joined, and the document in which each token begins.

    Raises DataError where no token would be scored.
    """
    documents = _documents(examples)
    texts = [SEPARATOR.join(document.rows or (document.text,)) for document in documents]
    stream, starts = model.tokenizer.encode_with_starts(SEPARATOR.join(texts))
    if len(stream) < 2:
        raise DataError(
            f"{examples.where}: the text has {len(stream)} token; "
            "the first one is never scored, so at least two are needed"
        )
    begins = [0, *accumulate(len(text) + len(SEPARATOR) for text in texts[:-1])]
    return stream, np.array([bisect.bisect_right(begins, start) - 1 for start in starts], dtype=np.int64)


def _plans(tokens: int, context: int, protocols: Sequence[str]) -> dict[str, list[Window]]:
    """The windows of each protocol that goes over the joined text, of so many `tokens`."""
    plans = {}
    if "token" in protocols:
        plans["token"] = sliding(tokens, context, context)
    if "stride512" in protocols and context > STRIDE:
        plans["stride512"] = sliding(tokens, context, STRIDE)
    if "llama.cpp" in protocols:
        plans["llama.cpp"] = second_halves(tokens, context)
    return plans


def _merged(windows: Sequence[Window]) -> list[Window]:
    """Each stretch of tokens once, with the most that any protocol scores of it."""
    first: dict[tuple[int, int], int] = {}
    for window in windows:
        key = (window.begin, window.end)
        first[key] = min(window.first, first.get(key, window.first))
    return [Window(begin, end, start) for (begin, end), start in first.items()]


def _sequenced(ids: Sequence[int], window: Window) -> Sequenced:
    return Sequenced(ids[window.begin : window.end], window.first - window.begin)


def _score_all(
    model: LanguageModel, sequences: Sequence[Sequenced], batch_size: int, progress: Progress
) -> list[NDArray[np.float64]]:
    found: list[NDArray[np.float64]] = [np.zeros(0)] * len(sequences)
    for done, (index, scored) in enumerate(score(model, sequences, batch_size=batch_size), 1):
        found[index] = scored.log_likelihood
        progress(done, len(sequences))
    return found


def _evidence(
    plan: Sequence[Window], found: dict[tuple[int, int], NDArray[np.float64]], clusters: NDArray[np.int64]
) -> Windows:
    sums = [float(found[window.begin, window.end][-window.scored :].sum()) for window in plan]
    return evaluation.windows(
        sums, [window.scored for window in plan], [int(clusters[window.first]) for window in plan]
    )


def _recipe(
    plan: Sequence[Window], found: dict[tuple[int, int], NDArray[np.float64]], clusters: NDArray[np.int64]
) -> Windows:
    """The documentation's own weights: a window's mean counts for one token fewer than it scores, but for the first.

    The recipe takes one token off every window for the label that the shift drops; in the first window that label was
    to be scored, in all others it was masked already.
    """
    exact = _evidence(plan, found, clusters)
    weights = exact.tokens - (np.arange(len(plan)) > 0)
    return Windows(exact.log_likelihood * weights / exact.tokens, weights, exact.cluster)


# a protocol over the joined text -> its metric, and how its windows count
_OF_STREAM = {
    "token": ("perplexity", _evidence),
    "stride512": ("perplexity_stride512", _recipe),
    "llama.cpp": ("llama_cpp_perplexity", _evidence),
}


def _per_document(documents: Sequence[Document], totals: Sequence[float]) -> dict[str, Metric]:
    """Per word and per byte of the original page, as lm-evaluation-harness counts them."""
    originals = [document.original or document.text for document in documents]
    words = evaluation.windows(totals, [len(re.split(r"\s+", original)) for original in originals])
    in_bytes = evaluation.windows(totals, [len(original.encode()) for original in originals])
    per_word = {} if evaluation.overflows(words) else {"word_perplexity": evaluation.perplexity(words, "ppl/word")}
    return per_word | {
        "byte_perplexity": evaluation.perplexity(in_bytes, "ppl/byte"),
        "bits_per_byte": evaluation.bits_per_byte(in_bytes),
    }


def _items(
    model: LanguageModel, stream: Sequence[int], windows: Sequence[Window], found: Sequence[NDArray[np.float64]]
) -> Iterator[dict[str, Any]]:
    for window, values in zip(windows, found, strict=False):
        yield {
            "prompt": model.tokenizer.decode(stream[window.begin : window.first]),
            "answer": model.tokenizer.decode(stream[window.first : window.end]),
            "tokens": window.scored,
            "log_likelihood": float(values.sum()),
        }
