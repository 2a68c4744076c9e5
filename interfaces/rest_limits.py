"""How often and how much at once each caller may ask."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

from starlette.exceptions import HTTPException

_MOST_KNOWN = 10_000
"""Callers that are kept in mind; those who have not asked for a while are forgotten first."""


class Rate:
    """A token bucket for each caller.

    Args:
        per_second: requests that come back to a caller's bucket; 0 lets everything pass.
        now: a clock.
    """

    def __init__(self, per_second: float, now: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._now = per_second, max(1.0, 2 * per_second), now
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait(self, caller: str, take: int = 1) -> float:
        """Take a request from the caller's bucket, or only look: 0, or the seconds until there is one."""
        if not self._per_second:
            return 0.0
        with self._lock:
            now = self._now()
            left, since = self._buckets.pop(caller, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_second)
            taken = left >= 1
            self._buckets[caller] = (left - take if taken else left, now)  # at the end: the last to be forgotten
            if len(self._buckets) > _MOST_KNOWN:
                del self._buckets[next(iter(self._buckets))]
        return 0.0 if taken else (1 - left) / self._per_second


class Strangers:
    """How many bad tokens each address may send.

    Args:
        per_second: tokens; 0 for any number.
    """

    def __init__(self, per_second: float) -> None:
        self._rate = Rate(per_second)

    def check(self, address: str) -> None:
        """Raises HTTPException 429 for an address that has sent too many."""
        if wait := self._rate.wait(address, take=0):
            raise _too_many("too many requests without a valid token", wait)

    def count(self, address: str) -> None:
        """One more from there."""
        self._rate.wait(address)


class Limits:
    """Both limits.

    Args:
        per_second: requests of a caller a second; 0 for any number.
        at_once: requests of a caller that are being answered; 0 for any number.
    """

    def __init__(self, per_second: float, at_once: int) -> None:
        self._rate, self._at_once = Rate(per_second), at_once
        self._running: Counter[str] = Counter()

    @contextmanager
    def admit(self, caller: str) -> Generator[None]:
        """Count a request of this caller for as long as it lasts. Raises HTTPException 429.

        For use in one thread, the event loop's.
        """
        if wait := self._rate.wait(caller):
            raise _too_many("too many requests in a second", wait)
        if self._at_once and self._running[caller] >= self._at_once:
            raise _too_many(f"{self._at_once} of your requests are being answered", 1)
        self._running[caller] += 1
        try:
            yield
        finally:
            self._running[caller] -= 1
            if not self._running[caller]:
                del self._running[caller]


def _too_many(what: str, wait: float) -> HTTPException:
    seconds = max(1, math.ceil(wait))
    return HTTPException(429, f"{what}: try again in {seconds} s", {"Retry-After": str(seconds)})
