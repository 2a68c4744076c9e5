"""Shards: attempts, what counts as failed, what is committed, what is done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefect_batch.scoring import shard
from prefect_batch.scoring.contract import ScoringSpec
from prefect_batch.scoring.errors import InitFailed, JobReleased
from prefect_batch.scoring.items import Item, MiniBatch
from prefect_batch.scoring.parts import committed, read_rows
from prefect_batch.scoring.shard import Receipt, RetrySettings
from prefect_batch.scoring.slots import Slots
from prefect_batch.scoring.storage import Folder

Score = Callable[..., Receipt]

SCRIPT = """
    import os, sys, time
    from pathlib import Path

    def init():
        with open(HERE / "inits", "a") as stream:
            stream.write("x")
        if (HERE / "init-fails").exists():
            raise RuntimeError("no model")

    def run(mini_batch):
        mini_batch = [os.path.basename(path) for path in mini_batch]
        name = mini_batch[0]
        with open(HERE / f"calls-{name}", "a") as stream:
            stream.write("x")
        if name.startswith("bad"):
            raise ValueError(f"{name} is bad")
        if name.startswith("flaky") and len((HERE / f"calls-{name}").read_text()) < 3:
            os._exit(9)
        if name.startswith("slow") and len((HERE / f"calls-{name}").read_text()) < 2:
            time.sleep(600)
        return [path for path in mini_batch if not path.startswith("lost")]
"""


def mini_batch(number: int, *names: str) -> MiniBatch:
    return MiniBatch(number, [Item(f"in/{name}", name) for name in names])


@pytest.fixture
def job(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "job"))


@pytest.fixture
def inputs(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "in"))


@pytest.fixture
def slots(script: Callable[..., ScoringSpec], job: Folder, inputs: Folder, tmp_path: Path) -> Iterator[Slots]:
    spec = script(SCRIPT.replace("HERE", f"Path({str(tmp_path)!r})"))
    made = Slots(job, spec, init_timeout=60, sources=[inputs])
    yield made
    made.release(at_once=True)


@pytest.fixture
def score(job: Folder, slots: Slots, inputs: Folder) -> Score:
    """Scores mini-batches given as names with a space between items; their files are made."""

    def call(
        *mini_batches: str, run: int = 1, max_retries: int = 3, timeout: float = 60, allowed: float = float("inf")
    ) -> Receipt:
        for name in " ".join(mini_batches).split():
            inputs.put(name, b"")
        made = (mini_batch(number, *text.split()) for number, text in enumerate(mini_batches))
        return shard.score_shard(job, 0, run, made, slots, RetrySettings(max_retries, timeout), allowed, None)

    return call


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[str], int]:
    return lambda name: len(path.read_text()) if (path := tmp_path / f"calls-{name}").exists() else 0


def test_rows_are_committed_and_summed(score: Score, job: Folder, tmp_path: Path) -> None:
    receipt = score("a b", "c")
    assert (receipt.mini_batches, receipt.items, receipt.failed, receipt.rows, receipt.retried) == (2, 3, 0, 3, 0)
    assert receipt.busy_seconds > 0
    ledger = committed(job)
    assert [read_rows(job, ledger[n]) for n in (0, 1)] == [b"a\nb\n", b"c\n"]
    assert ledger[0].outcome.attempts == 1
    assert ledger[0].outcome.process.endswith(str(ledger[1].outcome.process.rpartition("/")[2]))
    assert (tmp_path / "inits").read_text() == "x"


def test_a_mini_batch_is_tried_max_retries_times_in_all(score: Score, job: Folder, calls: Callable[[str], int]) -> None:
    receipt = score("bad1 x", "a", max_retries=3)
    assert calls("bad1") == 3
    assert (receipt.items, receipt.failed, receipt.rows, receipt.retried) == (3, 2, 1, 1)
    outcome = committed(job)[0].outcome
    (error,) = outcome.errors
    assert (error.items, error.error_type, error.message, error.attempt) == (
        ["in/bad1", "in/x"],
        "ValueError",
        "bad1 is bad",
        3,
    )
    assert "ValueError: bad1 is bad" in error.traceback
    assert not outcome.succeeded


def test_one_retry_is_one_run(score: Score, calls: Callable[[str], int]) -> None:
    assert score("bad1", max_retries=1).failed == 1
    assert calls("bad1") == 1


def test_a_process_that_dies_is_replaced_and_the_mini_batch_tried_again(
    score: Score, job: Folder, calls: Callable[[str], int], tmp_path: Path
) -> None:
    receipt = score("flaky")
    assert (receipt.failed, receipt.rows, receipt.retried, calls("flaky")) == (0, 1, 1, 3)
    assert committed(job)[0].outcome.attempts == 3
    assert (tmp_path / "inits").read_text() == "xxx"


def test_a_run_that_hangs_is_tried_again(score: Score, calls: Callable[[str], int]) -> None:
    receipt = score("slow", timeout=1.0)
    assert (receipt.failed, receipt.rows, receipt.retried, calls("slow")) == (0, 1, 1, 2)


def test_a_run_that_dies_each_time_says_so(score: Score, job: Folder) -> None:
    assert score("flaky", max_retries=2).failed == 1
    (error,) = committed(job)[0].outcome.errors
    assert (error.error_type, error.message) == ("ProcessDied", "the scoring process exited with code 9")


def test_missing_rows_are_failures_that_are_not_tried_again(
    score: Score, job: Folder, calls: Callable[[str], int]
) -> None:
    receipt = score("a lost1")
    assert (receipt.items, receipt.failed, receipt.rows, calls("a")) == (2, 1, 1, 1)
    assert committed(job)[0].outcome.errors[0].items == ["in/lost1"]
    assert committed(job)[0].outcome.succeeded


def test_what_is_committed_is_not_done_again(score: Score, calls: Callable[[str], int]) -> None:
    score("a", "bad1", max_retries=1)
    again = score("a", "bad1", "c", max_retries=1)
    assert (calls("a"), calls("bad1"), calls("c")) == (1, 1, 1)
    assert (again.mini_batches, again.items, again.failed, again.rows) == (3, 3, 1, 2)


def test_what_failed_in_an_earlier_run_is_tried_again(score: Score, calls: Callable[[str], int], job: Folder) -> None:
    score("a", "flaky", max_retries=2)
    receipt = score("a", "flaky", run=2)
    assert (calls("a"), calls("flaky")) == (1, 3)
    assert (receipt.failed, receipt.rows) == (0, 2)
    assert {number: at.run for number, at in committed(job).items()} == {0: 1, 1: 2}


def test_too_many_failures_end_the_shard_and_keep_what_is_done(
    score: Score, calls: Callable[[str], int], job: Folder
) -> None:
    receipt = score("a", "bad1", "bad2", "c", max_retries=1, allowed=1)
    assert (receipt.mini_batches, receipt.failed) == (3, 2)
    assert calls("c") == 0
    assert sorted(committed(job)) == [0, 1, 2]


def test_init_that_never_succeeds_ends_the_job(score: Score, tmp_path: Path, job: Folder) -> None:
    (tmp_path / "init-fails").touch()
    with pytest.raises(InitFailed, match="no model"):
        score("a", max_retries=2)
    assert (tmp_path / "inits").read_text() == "xx"
    assert committed(job) == {}


def test_a_released_job_keeps_what_was_done(slots: Slots, job: Folder, inputs: Folder) -> None:
    def mini_batches() -> Iterator[MiniBatch]:
        yield mini_batch(0, "a")
        yield mini_batch(1, "b")
        slots.release(at_once=True)  # asked for when "b" is about to be scored, to stage it meanwhile
        yield mini_batch(2, "c")

    for name in "abc":
        inputs.put(name, b"")
    with pytest.raises(JobReleased):
        shard.score_shard(job, 0, 1, mini_batches(), slots, RetrySettings(3, 60), 9, None)
    assert list(committed(job)) == [0]
    assert committed(job)[0].outcome.failed == 0


def test_fail_shard_marks_only_what_is_in_no_part(score: Score, job: Folder) -> None:
    score("a b")
    mini_batches = [mini_batch(0, "a", "b"), mini_batch(1, "c", "d")]
    receipt = shard.fail_shard(job, 0, 1, mini_batches, "KilledWorker", "4 workers died")
    assert (receipt.mini_batches, receipt.items, receipt.failed, receipt.rows) == (2, 4, 2, 2)
    ledger = committed(job)
    assert ledger[0].outcome.failed == 0
    assert ledger[1].outcome.errors[0].to_dict() == {
        "items": ["in/c", "in/d"],
        "error_type": "KilledWorker",
        "message": "4 workers died",
        "traceback": "",
        "attempt": 1,
    }
