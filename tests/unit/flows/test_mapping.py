"""Mapping: a bounded window, the threshold, and what happens when a shard raises."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from prefect_batch.flows.mapping import Suspected, Tally, map_shards
from prefect_batch.flows.plan import Shard
from prefect_batch.scoring.errors import InitFailed
from prefect_batch.scoring.shard import Receipt


def shards(count: int) -> list[Shard]:
    return [Shard(number=n, first=n, count=1, items=10, start=0, end=0) for n in range(count)]


class FakeMapper:
    """Runs shards at once (`pool` None) or in threads; records what was asked of it."""

    def __init__(
        self, ahead: int, failed: dict[int, int] | None = None, pool: ThreadPoolExecutor | None = None
    ) -> None:
        self.ahead, self.failed, self.pool = ahead, failed or {}, pool
        self.submitted: list[int] = []
        self.gathered: list[int] = []
        self.most = 0
        self.ended = ""
        self.raises: dict[int, BaseException] = {}
        self.suspected: set[int] = set()
        self.alone: list[int] = []
        self._lock = threading.Lock()

    def submit(self, shard: Shard, done: Callable[[], None]) -> int:
        with self._lock:
            self.submitted.append(shard.number)
            self.most = max(self.most, len(self.submitted) - len(self.gathered))
        if self.pool is None:
            done()
        else:
            self.pool.submit(done)
        return shard.number

    def receipt(self, handle: int, shard: Shard, alone: bool) -> Receipt:
        assert handle == shard.number
        if shard.number in self.suspected and not alone:
            raise Suspected
        if alone:
            self.alone.append(shard.number)
        if shard.number in self.raises:
            raise self.raises[shard.number]
        with self._lock:
            self.gathered.append(shard.number)
        return Receipt(
            shard.number, 1, shard.items, self.failed.get(shard.number, 0), rows=shard.items, busy_seconds=0.5
        )

    def abort(self) -> None:
        self.ended += "abort"

    def release(self) -> None:
        self.ended += "release"


def tally(count: int, allowed: float = float("inf")) -> Tally:
    return Tally(items_total=10 * count, mini_batches_total=count, failures_allowed=allowed)


@pytest.mark.parametrize("ahead", [1, 2, 7, 500])
def test_the_window_is_never_exceeded_and_every_shard_comes_once(ahead: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        mapper, sums, reports = FakeMapper(ahead, pool=pool), tally(200), []
        map_shards(mapper, shards(200), sums, lambda so_far: reports.append(so_far.items))
    assert mapper.most <= ahead
    assert sorted(mapper.gathered) == list(range(200))
    assert mapper.submitted == list(range(200))
    assert mapper.ended == "release"
    assert (sums.items, sums.failed, sums.mini_batches, sums.rows, sums.busy_seconds) == (2000, 0, 200, 2000, 100.0)
    assert reports == list(range(10, 2001, 10))


def test_a_callback_before_submit_returns() -> None:
    mapper = FakeMapper(ahead=3)
    map_shards(mapper, shards(10), tally(10), lambda _: None)
    assert sorted(mapper.gathered) == list(range(10))


def test_shards_are_taken_as_they_end_not_in_order() -> None:
    waiting: dict[int, Callable[[], None]] = {}

    class Held(FakeMapper):
        def submit(self, shard: Shard, done: Callable[[], None]) -> int:
            self.submitted.append(shard.number)
            waiting[shard.number] = done
            if len(waiting) == 5:
                numbers = list(waiting)
                random.Random(3).shuffle(numbers)
                expected.extend(numbers)
                for number in numbers:
                    waiting.pop(number)()
            return shard.number

    expected: list[int] = []
    mapper = Held(ahead=5)
    map_shards(mapper, shards(5), tally(5), lambda _: None)
    assert mapper.gathered == expected != sorted(expected)


def test_shards_are_made_only_as_they_are_submitted() -> None:
    mapper = FakeMapper(ahead=2, failed={1: 1})
    asked: list[int] = []

    def lazily() -> Iterator[Shard]:
        for shard in shards(1000):
            asked.append(shard.number)
            yield shard

    map_shards(mapper, lazily(), tally(1000, allowed=0), lambda _: None)
    assert len(asked) <= 5


@pytest.mark.parametrize(("allowed", "gathered"), [(0, 1), (9, 1), (10, 2), (25, 3), (99, 10), (100, 10)])
def test_the_threshold_stops_the_mapping(allowed: int, gathered: int) -> None:
    mapper, sums, reports = FakeMapper(1, dict.fromkeys(range(10), 10)), tally(10, allowed), []
    map_shards(mapper, shards(10), sums, lambda so_far: reports.append(so_far.failed))
    assert len(mapper.gathered) == gathered
    assert mapper.ended == ("abort" if allowed < 100 else "release")
    assert sums.exceeded == (allowed < 100)
    assert len(reports) == gathered


def test_a_tally_begins_where_an_earlier_run_ended() -> None:
    mapper, sums = FakeMapper(1, {0: 1}), tally(10, allowed=5)
    sums.add(Receipt(99, mini_batches=1, items=10, failed=5))
    map_shards(mapper, shards(5), sums, lambda _: None)
    assert len(mapper.gathered) == 1


@pytest.mark.parametrize("error", [InitFailed("no model"), RuntimeError("machinery"), KeyboardInterrupt()])
def test_what_a_shard_raises_aborts_all(error: BaseException) -> None:
    mapper, sums = FakeMapper(ahead=3), tally(50)
    mapper.raises[4] = error
    with pytest.raises(type(error)):
        map_shards(mapper, shards(50), sums, lambda _: None)
    assert mapper.ended == "abort"
    assert len(mapper.submitted) <= 8


def test_what_the_report_raises_aborts_all() -> None:
    def report(_: Tally) -> None:
        raise ConnectionError("no server")

    mapper = FakeMapper(ahead=3)
    with pytest.raises(ConnectionError):
        map_shards(mapper, shards(5), tally(5), report)
    assert mapper.ended == "abort"


def test_nothing_to_map() -> None:
    mapper = FakeMapper(ahead=3)
    map_shards(mapper, [], tally(0), lambda _: None)
    assert mapper.ended == "release"


def test_suspected_shards_run_again_alone_when_all_others_are_done() -> None:
    mapper, sums = FakeMapper(ahead=3), tally(10)
    mapper.suspected = {2, 7}
    map_shards(mapper, shards(10), sums, lambda _: None)
    assert mapper.gathered[-2:] == mapper.alone == [2, 7]
    assert mapper.submitted[10:] == [2, 7]
    assert (sums.mini_batches, mapper.ended) == (10, "release")


def test_suspected_shards_are_left_when_the_job_has_failed() -> None:
    mapper, sums = FakeMapper(ahead=1, failed={3: 1}), tally(10, allowed=0)
    mapper.suspected = {2}
    map_shards(mapper, shards(10), sums, lambda _: None)
    assert (mapper.alone, mapper.ended) == ([], "abort")
