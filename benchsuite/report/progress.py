"""One line that says what runs now: rewritten in place on a terminal, now and then a line of its own elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import pytest

REDRAW_S = 0.2
LINE_S = 30.0  # how often a log, which cannot be rewritten, gets a line


class Progress:
    """Writes around pytest's capture; silent with `-q -q` and for whatever ends at once."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._silent = config.get_verbosity() < -1
        self._is_terminal = sys.stderr.isatty()
        self._due = 0.0

    @contextlib.contextmanager
    def showing(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """Show `text` while the block runs; the block may call what it gets with (done, of how many)."""
        start = time.monotonic()
        self._due = start + (0 if self._is_terminal else LINE_S)

        def step(done: int = 0, total: int = 0) -> None:
            now = time.monotonic()
            if now < self._due:
                return
            self._due = now + (REDRAW_S if self._is_terminal else LINE_S)
            counted = f" {done}/{total}" if total else ""
            left = f", {(now - start) / done * (total - done):.0f} s left" if done and now - start > 2 else ""
            self._write(f"{text}{counted}, {now - start:.0f} s{left}" if now - start > 1 else f"{text}{counted}")

        step()
        try:
            yield step
        finally:
            if self._is_terminal:
                self._write("")

    def _write(self, line: str) -> None:
        if self._silent:
            return
        suspended = self._capture.global_and_fixture_disabled() if self._capture else contextlib.nullcontext()
        with suspended:
            sys.stderr.write(f"\r\x1b[2K{line[:160]}" if self._is_terminal else f"\n{line}\n")
            sys.stderr.flush()
