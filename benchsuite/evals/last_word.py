"""The last word of a passage, given the rest: lm-evaluation-harness `lambada_openai` 1.0 (Paperno et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence

from benchsuite.data.examples import Document, Examples
from benchsuite.errors import DataError
from benchsuite.evals import evaluation
from benchsuite.evals.answers import Prompts, batch_invariance, continuations, scored, tokenized
from benchsuite.evals.evaluation import Evaluation, Progress, Work, quiet
from benchsuite.models.language_model import LanguageModel


def evaluate(
    model: LanguageModel,
    examples: Examples,
    documents: Sequence[Document],
    *,
    batch_size: int,
    progress: Progress = quiet,
) -> Evaluation:
    """The perplexity of the endings and the share of them of which every token is the most likely one.

    A passage longer than the context loses its beginning (counted), whatever the other passages are.
    """
    prompts, endings = _prompts(model, documents, examples.where)
    found, cut = scored(model, prompts, endings, where=examples.where, batch_size=batch_size, progress=progress)
    right = [bool(item.greedy.all()) for item in found]
    return Evaluation(
        {
            "perplexity": evaluation.perplexity(
                evaluation.windows([item.total for item in found], [1] * len(found)), "ppl/word"
            ),
            "accuracy": evaluation.share(right),
            "batch_invariance": batch_invariance(model, prompts, endings, found, batch_size),
        },
        protocol={"scored": "the ending", "prompt": "the text before it"},
        items=tuple(
            {
                "prompt": _before(document),
                "answer": document.ending,
                "right": match,
                "log_likelihood": item.total,
            }
            for document, match, item in zip(documents, right, found, strict=True)
        ),
        excluded=dict(examples.excluded)
        | evaluation.counted(
            documents_without_text=len(examples.items) - len(documents),
            passages_truncated_from_the_left=len(prompts.truncated) + cut,
        ),
    )


def work(model: LanguageModel, examples: Examples, documents: Sequence[Document], *, batch_size: int) -> Work:
    """The endings of the first batch of passages; `tokens` are those of the passages."""
    prompts, endings = _prompts(model, documents[:batch_size], examples.where)

    def run() -> None:
        scored(model, prompts, endings, batch_size=batch_size)

    fits = model.n_positions + 1  # the last token is only predicted
    lengths = [len(row) + len(ending) for row, ending in zip(prompts.rows, endings, strict=True)]
    return Work(run, sum(min(length, fits) for length in lengths), len(lengths))


def _before(document: Document) -> str:
    return document.text.removesuffix(document.ending)


def _prompts(model: LanguageModel, documents: Sequence[Document], where: str) -> tuple[Prompts, list[list[int]]]:
    for row, document in enumerate(documents):
        if not document.ending or not document.text.endswith(document.ending) or not _before(document):
            raise DataError(
                f"{where}, row {row}: {document.text[:40]!r} does not end in {document.ending!r} behind other text; "
                "a word is predicted from what stands before it"
            )
    texts = [_before(document) for document in documents]
    endings = continuations(model, texts, [document.ending for document in documents])
    return tokenized(model, texts, common="", room=0), endings  # each ending makes its own room when it is scored
