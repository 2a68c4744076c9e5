"""Limits of the gateway's callers."""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException

from prefect_batch.interfaces.rest_limits import Limits, Rate


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_again():
    clock = Clock()
    rate = Rate(2, clock)
    assert [rate.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]  # twice as many at once
    assert rate.wait("b") == 0  # another's bucket
    clock.now = 0.5
    assert [rate.wait("a") for _ in range(2)] == [0, 0.5]
    clock.now = 1000
    assert [rate.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]  # and runs over


def test_buckets_of_many_are_forgotten():
    rate = Rate(0.001, Clock())
    for number in range(20_000):
        assert rate.wait(str(number)) == 0
    assert rate.wait("19999") > 0 and rate.wait("0") == 0


def test_no_limit():
    rate = Rate(0)
    assert not any(rate.wait("a") for _ in range(1000))


def test_requests_at_once():
    limits = Limits(0, 2)
    with limits.admit("a"):
        with limits.admit("a"), pytest.raises(HTTPException) as refused, limits.admit("a"):
            pass
        assert refused.value.status_code == 429 and refused.value.headers == {"Retry-After": "1"}
        with limits.admit("b"), limits.admit("a"):
            pass
