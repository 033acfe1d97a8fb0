"""What ends a process from outside lets it put away what it has, as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable


def interrupt_when_terminated() -> Callable[[], None]:
    """Make SIGTERM and SIGHUP a KeyboardInterrupt where nobody else handles them; those ignored (nohup) stay so.

    What is returned undoes it, for a process that has more to do.
    """
    changed = contextlib.ExitStack()
    if threading.current_thread() is threading.main_thread():
        for sent in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(sent) is signal.SIG_DFL:
                changed.callback(signal.signal, sent, signal.signal(sent, signal.default_int_handler))
    return changed.close
