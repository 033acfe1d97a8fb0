"""How far quantizing is, for whoever wants to show it: GPTQ takes minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int], None]  # (done, of how many)

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def reported_to(listener: Listener) -> Iterator[None]:
    """While the block runs, `listener` is called with the layers or blocks done and how many there are."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(done: int, total: int) -> None:
    """Say that `done` of `total` are quantized."""
    if (listener := _listener.get()) is not None:
        listener(done, total)
