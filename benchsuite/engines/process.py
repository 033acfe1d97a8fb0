"""An engine in a process of its own: a line of JSON asks, an empty line marks a token, a line of JSON answers.

Two thread pools in one process slow each other down: GNU's OpenMP counts the threads of both, and where they are more
than the processors a thread sleeps between two products in place of waiting awake, which doubles the time of a token.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from benchsuite import errors
from benchsuite.engines import Engine, ignore, load_engine
from benchsuite.engines.source import Source, source_of
from benchsuite.errors import UnavailableError, last_line, reason_of


class EngineProcess:
    """The engine `name`, loaded elsewhere; the process ends with this object.

    What goes wrong there is raised here: errors of ours as they are, a library's as RuntimeError, and UnavailableError
    where the process died.
    """

    def __init__(self, name: str, source: Source, *, threads: int, device: str) -> None:
        _ = source.directory  # written here: a model of the user's own is not known elsewhere
        self._name = name
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchsuite.engines.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        self.close = weakref.finalize(self, _end, self._process)
        self._ask({"name": name, "source": asdict(source), "threads": threads, "device": device})

    @property
    def ended(self) -> bool:
        """Whether the process is no more: it answers nothing."""
        return self._process.poll() is not None

    def prefill(self, ids: Sequence[int]) -> None:
        """One pass over a prompt, the logits of every position."""
        self._ask({"prefill": list(ids)})

    def generate(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, mark: Callable[[], None] = ignore
    ) -> list[list[int]]:
        """Exactly `new_tokens` greedy tokens after each prompt; `mark` is called when one of every row is known."""
        asked = {"prompts": [list(prompt) for prompt in prompts], "new_tokens": new_tokens}
        tokens: list[list[int]] = self._ask(asked, mark)["tokens"]
        return tokens

    def _ask(self, asked: dict[str, Any], mark: Callable[[], None] = ignore) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died: said below
            self._process.stdin.write(json.dumps(asked, default=str) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line == "\n":
                mark()
                continue
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise getattr(errors, answer["kind"], RuntimeError)(answer["error"])
            return answer
        self._errors.seek(0)
        last = last_line(self._errors.read())
        raise UnavailableError(f"the process of {self._name} ended with {self._process.wait()}: {last}")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def main() -> None:
    """The process: an engine to load, then work until nobody asks any more."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    engine: Engine | None = None
    for line in sys.stdin:
        asked, answer = json.loads(line), dict[str, Any]()
        try:
            if engine is None:
                given = source_of(asked["source"])
                engine = load_engine(asked["name"], given, threads=asked["threads"], device=asked["device"])
            elif "prefill" in asked:
                engine.prefill(asked["prefill"])
            else:
                answer["tokens"] = engine.generate(asked["prompts"], asked["new_tokens"], lambda: print(file=out))
        except Exception as error:  # a fault of a library is the cell's, and is said there
            answer = {"error": reason_of(error), "kind": type(error).__name__}
        print(json.dumps(answer), file=out)
        if engine is None:
            return


if __name__ == "__main__":
    main()
