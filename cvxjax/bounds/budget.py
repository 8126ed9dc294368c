"""How many seconds a bound may take: it holds at whatever moment its search stops."""

from __future__ import annotations

import time


class Budget:
    """Seconds from now on, for one search or for several after another.

    Args:
      seconds: >= 0; inf: no limit.
    """

    def __init__(self, seconds: float = float("inf")) -> None:
        self._start, self._seconds = time.monotonic(), max(0.0, seconds)

    @property
    def seconds(self) -> float:
        """How many there were at the start."""
        return self._seconds

    @property
    def left(self) -> float:
        """Seconds that are left, >= 0."""
        return max(0.0, self._seconds - (time.monotonic() - self._start))

    @property
    def share_left(self) -> float:
        """The share of the seconds that is left, from 1 to 0."""
        if self._seconds == 0:
            return 0.0
        if self._seconds == float("inf"):
            return 1.0
        return self.left / self._seconds

    def part(self, share: float) -> Budget:
        """A budget of this share of what is left."""
        return Budget(share * self.left)
