"""Answers to prompts: generated until a stop string, and the log-likelihood of the right one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from benchsuite.errors import DataError, UsageError
from benchsuite.evals import evaluation
from benchsuite.evals.evaluation import Progress, Work, quiet
from benchsuite.models.language_model import LanguageModel, Scored, Sequenced, generate, score
from benchsuite.record import Metric


@dataclass(frozen=True)
class Prompts:
    """Tokenized prompts: each is `prefix` and its own `rows`, or, where it was truncated from the left, its row alone.

    The prefix is what all prompts begin with, so that its keys and values are computed once.
    """

    prefix: list[int]
    rows: list[list[int]]
    truncated: frozenset[int]  # rows that lost their beginning, and the prefix with it

    def head(self, count: int) -> Prompts:
        """The first `count` prompts."""
        return Prompts(self.prefix, self.rows[:count], frozenset(row for row in self.truncated if row < count))

    def groups(self) -> list[tuple[list[int], list[int]]]:
        """(prefix, indices of rows behind it), empty groups left out."""
        whole = [index for index in range(len(self.rows)) if index not in self.truncated]
        groups: list[tuple[list[int], list[int]]] = [(self.prefix, whole), ([], sorted(self.truncated))]
        return [(prefix, indices) for prefix, indices in groups if indices]


@dataclass(frozen=True)
class Answered:
    """What a model answered to each prompt, and what it makes of the right answers."""

    texts: list[str]
    expected: list[Scored]
    batch_invariance: Metric
    excluded: Mapping[str, int]  # prompts that lost their beginning, by reason


def room_for(model: LanguageModel, longest: int, asked: int | None) -> int:
    """How many tokens an answer may take: `asked`, else `longest` or a quarter of a shorter context."""
    return asked or min(longest, model.n_positions // 4)


def tokenized(model: LanguageModel, texts: Sequence[str], *, common: str, room: int) -> Prompts:
    """Tokenize prompts, leaving `room` tokens of the context free behind each; what is too long loses its beginning.

    `common` is a text that all prompts share the beginning of.
    """
    longest = model.n_positions - room
    if longest < 1:
        raise UsageError(f"{model.name} sees {model.n_positions} tokens; behind each prompt {room} are to be free")
    encoded = model.tokenizer.encode_batch([common, *texts])
    prefix = _common_beginning(encoded)[:longest] if common else []
    rows: list[list[int]] = []
    truncated: set[int] = set()
    for index, ids in enumerate(encoded[1:]):
        if len(ids) > longest:
            truncated.add(index)
            rows.append(ids[-longest:])
        else:
            rows.append(ids[len(prefix) :])
    return Prompts(prefix, rows, frozenset(truncated))


def answered(
    model: LanguageModel,
    prompts: Prompts,
    asked: Sequence[str],
    right: Sequence[str],
    *,
    until: Sequence[str],
    room: int,
    where: str,
    batch_size: int,
    progress: Progress,
) -> Answered:
    """Generate at most `room` tokens behind each prompt, and score the `right` answers, texts behind texts `asked`.

    Raises DataError, naming `where` (dataset and split) and row, for an empty answer.
    """
    steps = 2 * len(asked)
    texts, _ = generated(
        model,
        prompts,
        until=until,
        max_new_tokens=room,
        batch_size=batch_size,
        progress=lambda done, _: progress(done, steps),
    )
    tokens = continuations(model, asked, right)
    found, cut = scored(
        model,
        prompts,
        tokens,
        where=where,
        batch_size=batch_size,
        progress=lambda done, _: progress(len(asked) + done, steps),
    )
    return Answered(
        texts,
        found,
        batch_invariance(model, prompts, tokens, found, batch_size),
        evaluation.counted(
            prompts_truncated_from_the_left=len(prompts.truncated), prompts_truncated_for_the_right_answer=cut
        ),
    )


def work_of_answers(model: LanguageModel, prompts: Prompts, *, until: Sequence[str], room: int) -> Work:
    """Answers to all prompts as one batch; `tokens` are those generated."""

    def run() -> int:
        return generated(model, prompts, until=until, max_new_tokens=room, batch_size=len(prompts.rows))[1]

    return Work(run, run(), len(prompts.rows))


def generated(
    model: LanguageModel,
    prompts: Prompts,
    *,
    until: Sequence[str],
    max_new_tokens: int,
    batch_size: int,
    progress: Progress = quiet,
) -> tuple[list[str], int]:
    """The greedy answer to each prompt, cut before the first stop string, and the number of tokens generated."""
    answers = [""] * len(prompts.rows)
    tokens = done = 0
    for prefix, indices in prompts.groups():
        for at, new in generate(
            model,
            [prompts.rows[index] for index in indices],
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            prefix=prefix,
            finished=_stop_at(model, until),
        ):
            answers[indices[at]] = _cut(model.tokenizer.decode(new), until)
            tokens += len(new)
            done += 1
            progress(done, len(prompts.rows))
    return answers, tokens


def scored(
    model: LanguageModel,
    prompts: Prompts,
    answers: Sequence[Sequence[int]],
    *,
    where: str = "the answers",
    batch_size: int,
    progress: Progress = quiet,
) -> tuple[list[Scored], int]:
    """The log-likelihood of the tokens of each of `answers`, given its prompt.

    Also the number of prompts that lost their beginning for it, beyond those that had lost it before. Raises DataError,
    naming `where` (dataset and split) and row, for an answer without a token or longer than the context.
    """
    fits = model.n_positions + 1  # the last token is only predicted
    found: dict[int, Scored] = {}
    cut = 0
    for prefix, indices in prompts.groups():
        behind: dict[int, Sequenced] = {}
        alone: dict[int, Sequenced] = {}
        for index in indices:
            row, answer = prompts.rows[index], answers[index]
            if not 0 < len(answer) < fits:
                raise DataError(
                    f"{where}, row {index}: an answer of {len(answer)} tokens; "
                    f"at least one is needed and {fits - 1} fit the model's context"
                )
            if len(prefix) + len(row) + len(answer) <= fits:
                behind[index] = Sequenced([*row, *answer], len(row))
            else:
                ids = [*prefix, *row, *answer][-fits:]
                alone[index] = Sequenced(ids, len(ids) - len(answer))
        for group, shared in ((behind, prefix), (alone, [])):
            order = list(group)
            for at, values in score(model, list(group.values()), batch_size=batch_size, prefix=shared):
                found[order[at]] = values
                progress(len(found), len(answers))
        cut += len(alone.keys() - prompts.truncated)
    return [found[index] for index in range(len(answers))], cut


def batch_invariance(
    model: LanguageModel, prompts: Prompts, answers: Sequence[Sequence[int]], found: Sequence[Scored], batch_size: int
) -> Metric:
    """The largest change of the log-likelihood of one of the first `batch_size` answers when it is scored alone."""
    alone, _ = scored(model, prompts.head(batch_size), answers[:batch_size], batch_size=1)
    return evaluation.batch_invariance([item.total for item in found[:batch_size]], [item.total for item in alone])


def continuations(model: LanguageModel, prompts: Sequence[str], answers: Sequence[str]) -> list[list[int]]:
    """The tokens of each answer as they follow its prompt: what the whole text has beyond the prompt's own tokens."""
    alone = model.tokenizer.encode_batch(prompts)
    whole = model.tokenizer.encode_batch([prompt + answer for prompt, answer in zip(prompts, answers, strict=True)])
    return [ids[len(prompt) :] for prompt, ids in zip(alone, whole, strict=True)]


def _common_beginning(rows: Sequence[Sequence[int]]) -> list[int]:
    return [tokens[0] for tokens in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*rows, strict=False))]


def _stop_at(model: LanguageModel, until: Sequence[str]) -> Callable[[list[int]], bool]:
    """Whether the newest tokens hold a stop string; one that is n bytes long lies in the last n tokens."""
    window = max((len(stop.encode()) for stop in until), default=0)

    def finished(new: list[int]) -> bool:
        tail = model.tokenizer.decode(new[-window:])
        return any(stop in tail for stop in until)

    return finished


def _cut(text: str, until: Sequence[str]) -> str:
    for stop in until:
        text = text.split(stop, 1)[0]
    return text
