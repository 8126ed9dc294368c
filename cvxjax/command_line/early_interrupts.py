"""Ctrl-C while the command line starts: one line and exit code 130, at once.

Importing JAX and the others takes seconds, during which a KeyboardInterrupt prints
pages of traceback, or is lost in a callback of the garbage collector. So this module is
imported first, and imports nothing heavy.
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
    """Makes a Ctrl-C end this process at once, if it is the command line's."""
    words = sys.orig_argv
    script = os.path.basename(sys.argv[0]) in ("cvxjax", "cvxjax.exe")
    if script or ("-m", "cvxjax") in zip(words, words[1:], strict=False):
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"cvxjax: interrupted\n")
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Restores Python's handler of Ctrl-C within the block, for what catches it."""
    before = signal.getsignal(signal.SIGINT)
    if before is not _leave:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
