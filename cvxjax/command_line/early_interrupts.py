"""Ctrl-C while the command line starts: one line and exit code 130, at once.

Importing JAX and its friends takes seconds, in which a KeyboardInterrupt ends in pages
of traceback, or in nothing where it meets a callback of the garbage collector. So this
comes before all other imports, and imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

INTERRUPTED = 130


def watch_start() -> None:
    """Ends this process at a Ctrl-C, if it is `python -m cvxjax` and no other."""
    words = sys.orig_argv
    if ("-m", "cvxjax") in zip(words, words[1:], strict=False):
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"cvxjax: interrupted\n")
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within the block a Ctrl-C is as usual, for code that knows what to do with it."""
    before = signal.getsignal(signal.SIGINT)
    if before is not _leave:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
