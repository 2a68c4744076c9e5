"""What was looked up a moment ago, so that a gateway does not ask for each call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """A look-up by text whose answers hold for a while. Threads that ask for the same at once ask once.

    Args:
        look_up: what answers; what it raises is not kept.
        seconds: how long an answer holds.
        most: answers kept at most.
    """

    def __init__(self, look_up: Callable[[str], T], seconds: float = 5.0, most: int = 1000) -> None:
        self._look_up, self._seconds, self._most = look_up, seconds, most
        self._held: dict[str, tuple[float, T]] = {}
        # Several, so that a look-up that takes long does not hold up all others.
        self._locks = [threading.Lock() for _ in range(32)]

    def __call__(self, key: str) -> T:
        with self._locks[hash(key) % len(self._locks)]:
            held = self._held.get(key)
            if held is not None and time.monotonic() - held[0] < self._seconds:
                return held[1]
            found = self._look_up(key)
            if len(self._held) >= self._most:
                self._held.clear()
            self._held[key] = (time.monotonic(), found)
            return found
