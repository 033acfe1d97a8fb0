"""What ends a process from outside lets it put away what it has, as Ctrl-C does."""

from __future__ import annotations

import signal
import threading


def interrupt_when_terminated() -> None:
    """Make SIGTERM and SIGHUP a KeyboardInterrupt where nobody else handles them; those ignored (nohup) stay so."""
    if threading.current_thread() is threading.main_thread():
        for sent in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(sent) is signal.SIG_DFL:
                signal.signal(sent, signal.default_int_handler)
