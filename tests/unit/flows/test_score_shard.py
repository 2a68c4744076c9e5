"""What of a script's output goes to the job's log."""

from __future__ import annotations

import logging

import pytest

from prefect_batch.flows.score_shard import LimitedSink


class Clock:
    """A clock that only moves when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("prefect_batch.flows.score_shard.time", clock)
    return clock


def test_lines_below_the_level_stay_in_the_files(caplog: pytest.LogCaptureFixture, clock: Clock):
    logger = logging.getLogger("sink")
    with caplog.at_level(logging.DEBUG, "sink"):
        sink = LimitedSink(logger, "warning")
        sink(logging.INFO, "printed")
        sink(logging.WARNING, "100 % warned")
    assert caplog.messages == ["100 % warned"]


def test_a_flood_is_cut_and_counted(caplog: pytest.LogCaptureFixture, clock: Clock):
    logger = logging.getLogger("sink")
    with caplog.at_level(logging.DEBUG, "sink"):
        sink = LimitedSink(logger, "info")
        for number in range(1000):
            sink(logging.INFO, f"line {number}")
        assert len(caplog.messages) == sink.burst == 50
        clock.now += 1.0
        sink(logging.INFO, "later")
    assert caplog.messages[50].startswith("950 lines were kept back")
    assert caplog.messages[51] == "later"
