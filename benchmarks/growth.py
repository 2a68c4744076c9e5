"""How a job's time grows: with its mini-batches, with the rows of one file, and with its workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import data
from bench import Bench, Result
from measuring import BenchmarkFailed, Taken
from mini_batches import deploy, empty_files

MINI_BATCHES = [10, 100, 1000, 10_000, 100_000]
ROWS = [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000]
WORKERS = [1, 2, 4, 8]
SLEEPS, SLEEP_SECONDS = 200, 0.1
SLEEPING = f"""
import time


def init():
    pass


def run(mini_batch):
    time.sleep({SLEEP_SECONDS})
    return [1] * len(mini_batch)
"""
MANY, MANY_REPEAT = 100_000, 3
"""A size from which more rounds would only take longer, and how many of it are enough."""

Job = tuple[Taken, dict[str, Any]]


def mini_batches(bench: Bench) -> Result:
    """One empty file a mini-batch, scored by a no-op."""
    deploy(bench, "growing")
    return _grown(bench, "growing", "mini_batches", MINI_BATCHES, empty_files)


def rows(bench: Bench) -> Result:
    """One CSV file, cut into pieces of 16 MB, scored by the boosting model."""
    settings = {"mini_batch_size": "16MB", "max_concurrency_per_instance": 2}
    bench.ours.deploy("longer", {"model": str(data.boosting_model(bench.cache)), "settings": settings})
    return _grown(bench, "longer", "rows", ROWS, data.one_csv_file)


def workers(bench: Bench) -> Result:
    """Mini-batches that sleep, on more and more instances of one scoring process each.

    Sleep needs no processor, so that there may be more workers than the machine has of those.
    """
    files = empty_files(bench.cache, bench.scaled(SLEEPS, 16))
    count = sum(1 for _ in files.iterdir())
    for instances in WORKERS:
        deploy(bench, f"asleep-{instances}", SLEEPING, max_concurrency_per_instance=1, instance_count=instances)

    def job(instances: int, out: Path) -> Job:
        taken, summary = bench.ours.run(f"asleep-{instances}", files, out)
        _complete(count, summary["succeeded"], summary)
        return taken, {"least": count * SLEEP_SECONDS / instances}

    return _rounds(bench, "workers", WORKERS, job)


def _grown(bench: Bench, endpoint: str, what: str, counts: list[int], files: Callable[[Path, int], Path]) -> Result:
    """What jobs of each size took. For a trial there are small ones, of which none is there twice.

    Args:
        bench: as ever.
        endpoint: that they are of.
        what: of a summary tells their size.
        counts: their sizes.
        files: makes what is scored in a folder, of a size.
    """

    def job(count: int, out: Path) -> Job:
        taken, summary = bench.ours.run(endpoint, files(bench.cache, count), out)
        _complete(count, summary[what], summary)
        return taken, {}

    return _rounds(bench, what, sorted({bench.scaled(count, 10) for count in counts}), job)


def _rounds(bench: Bench, what: str, sizes: list[int], job: Callable[[int, Path], Job]) -> Result:
    """What jobs of each size took, one of each again and again; the largest not in all rounds."""
    found: dict[str, list[dict[str, Any]]] = {str(size): [] for size in sizes}
    for number in range(bench.repeat):
        for size in sizes:
            if size >= MANY and number >= MANY_REPEAT:
                continue
            taken, more = job(size, bench.work / f"{what}-{number}-{size}")
            found[str(size)].append(taken.plain() | more)
            bench.say(
                f"{size} {what} {number + 1}/{bench.repeat}: {taken.wall:.1f} s, scoring {taken.scoring or 0:.2f} s"
            )
    return found


def _complete(expected: int, seen: int, summary: dict[str, Any]) -> None:
    if seen != expected or summary["succeeded"] != summary["items"]:
        raise BenchmarkFailed(f"{expected} were expected: {summary}")
