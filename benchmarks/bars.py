"""What is promised of speed and memory, and whether the results keep it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import data
from kept import Found, median_of, number, ratio_of
from side_by_side import TITLES

SIGNS = {"<": operator.lt, "≤": operator.le, "≥": operator.ge}
WORKLOADS = {workload.name for workload in data.WORKLOADS}
TABLES = ("files", "parquet", "small", "large")
"""Workloads for which we are to be clearly faster, not just faster."""


@dataclass(frozen=True)
class Bar:
    """A bound, and what was seen; None where that could not be measured."""

    what: str
    seen: float | None
    sign: str
    limit: float

    @property
    def met(self) -> bool:
        return self.seen is not None and SIGNS[self.sign](self.seen, self.limit)

    @property
    def cells(self) -> list[str]:
        bar = f"{self.sign} {self.limit:g}"
        if self.seen is None:
            return [self.what, "not measured", bar, ""]
        near = 0 < abs(self.seen - self.limit) < 0.01 * self.limit
        return [self.what, number(self.seen, 2 if near else 0), bar, "yes" if self.met else "**no**"]


def all_of(found: dict[str, Found]) -> list[Bar]:
    """Those of all parts that have results."""
    ordered = [*(workload.name for workload in data.WORKLOADS), *OTHERS]
    return [bar for part in ordered if part in found for bar in _of(part, found[part]["found"])]


def _of(part: str, runs: dict[str, Any]) -> Iterator[Bar]:
    return _side_by_side(part, runs) if part in WORKLOADS else OTHERS[part](runs)


def _side_by_side(part: str, runs: dict[str, Any]) -> Iterator[Bar]:
    for peer in ("ray", "spark"):
        sign, limit = ("≤", 0.6) if part in TABLES else ("<", 1.0)
        yield Bar(f"{part}: seconds against {TITLES[peer]}", ratio_of(runs, peer, "wall"), sign, limit)
    if part == "small":
        yield Bar(f"{part}: seconds against {TITLES['prefect']}", ratio_of(runs, "prefect", "wall"), "≤", 0.2)
    if part in ("files", "parquet", "large"):
        ratio = ratio_of(runs, "dask", "scoring")
        yield Bar(f"{part}: scoring phase against {TITLES['dask']}", ratio, "≤", 1.1)
    if part == "large":
        ratio = ratio_of(runs, "loop", "scoring")
        two = None if ratio is None else 0.5 / ratio
        yield Bar(f"{part}: efficiency of two workers, scoring phase against half the loop's", two, "≥", 0.9)


def _mini_batches(runs: dict[str, Any]) -> Iterator[Bar]:
    stock = _each(runs["stock"], runs["stock"][0]["completed"], "scoring")
    one = runs["1000"]
    title = f"one of 1,000 mini-batches, call to outputs, ms (Prefect's own map: {number(stock)})"
    yield Bar(title, _each(one, 1000, "wall"), "≤", 8)
    yield Bar("completed task runs of 1,000 mini-batches", min(run["completed"] for run in one), "≥", 1000)
    shards = {count: _each(runs[str(count)], count, "scoring") for count in (10_000, 100_000)}
    for count, each in shards.items():
        yield Bar(f"one of {count:,} mini-batches in shards, scoring phase, ms", each, "≤", 1)
    yield Bar("the same, 100,000 against 10,000", shards[100_000] / shards[10_000], "≤", 1.25)


def _each(runs: list[dict[str, Any]], count: int, what: str) -> float:
    """Milliseconds."""
    return 1000 * median_of(runs, what) / count


def _fixed_cost(runs: dict[str, Any]) -> Iterator[Bar]:
    yield Bar("one file of five rows, call to Completed, seconds", median_of(runs["runs"], "call to Completed"), "≤", 5)


def _memory(runs: dict[str, Any]) -> Iterator[Bar]:
    fewest, most = (median_of(runs[key], "flow_mb") for key in sorted(runs, key=int))
    yield Bar("growth of the flow's process from 1,000 items to 1,000,000, MB", most - fewest, "<", 50)


def _one_large_file(runs: dict[str, Any]) -> Iterator[Bar]:
    one, two = runs["1"], runs["2"]
    speed = median_of(one, "scoring") / median_of(two, "scoring")
    yield Bar("one CSV file of 1 GB: scoring phase of one worker against two's", speed, "≥", 1.8)
    yield Bar("the same: the most that any process held, MB", max(run["most_mb"] for run in one + two), "<", 600)


def _command_line(runs: dict[str, Any]) -> Iterator[Bar]:
    seconds = median_of(runs["seconds"]["prefect-batch --help"], "wall")
    yield Bar("`prefect-batch --help`, seconds", seconds, "≤", 0.4)


def _slow_server(runs: dict[str, Any]) -> Iterator[Bar]:
    usual = median_of(runs["undisturbed"], "scoring")
    for name, title in (("delayed", "answers 300 ms later"), ("restarted", "is killed and started again")):
        ratio = median_of(runs[name], "scoring") / usual
        yield Bar(f"scoring phase while the server {title}, against undisturbed", ratio, "≤", 1.1)


def _staging(runs: dict[str, Any]) -> Iterator[Bar]:
    faster = median_of(runs["one by one"], "wall") / median_of(runs["staged"], "wall")
    yield Bar("staging 1,000 small files from S3: how many times as fast as one by one", faster, "≥", 10)


OTHERS: dict[str, Callable[[dict[str, Any]], Iterator[Bar]]] = {
    "mini_batches": _mini_batches,
    "fixed_cost": _fixed_cost,
    "memory": _memory,
    "one_large_file": _one_large_file,
    "command_line": _command_line,
    "slow_server": _slow_server,
    "staging": _staging,
}
"""By part, in the order of the page."""
