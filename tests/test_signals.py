"""What ends a process is an interruption, unless it was told to pay no heed."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import signal
from benchsuite.signals import interrupt_when_terminated
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
undo = interrupt_when_terminated()
signal.raise_signal(signal.SIGHUP)
try:
    signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    print("interrupted")
undo()
print([signal.getsignal(sent).name for sent in (signal.SIGHUP, signal.SIGTERM)])
"""


def test_a_signal_that_ends_interrupts_until_it_is_undone_and_one_that_is_ignored_stays_so() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n['SIG_IGN', 'SIG_DFL']\n"), done.stderr
