"""One large CSV file, scored by one worker and by two: how much faster two are, and what memory it takes."""

from __future__ import annotations

from pathlib import Path

import data
from bench import Bench, Result
from measuring import BenchmarkFailed
from processes import sampled

BYTES, LEAST_BYTES = 1_000_000_000, 5_000_000
BLOCK_ROWS = 50_000
WORKERS = [1, 2]


def measure(bench: Bench) -> Result:
    """Jobs on one worker and on two, in turn; each worker has one scoring process."""
    files = data.made(bench.cache, WORKLOAD, bench.share)
    for workers in WORKERS:
        settings = {"mini_batch_size": "64MB", "instance_count": workers, "max_concurrency_per_instance": 1}
        model = str(data.boosting_model(bench.cache))
        bench.ours.deploy(f"gigabyte-{workers}", {"model": model, "settings": settings})
    found: Result = {str(workers): [] for workers in WORKERS}
    rows = set[int]()
    for number in range(bench.repeat):
        for workers in WORKERS:
            endpoint = f"gigabyte-{workers}"
            with sampled(bench.ours.server) as used:
                taken, summary = bench.ours.run(endpoint, files, bench.work / f"{endpoint}-{number}")
            most = max(role.resident for role in used.roles.values())
            told = {"rows": summary["rows"], "score_busy": summary["seconds"]["busy"], "most_mb": most}
            found[str(workers)].append(taken.plain() | told | {"used": used.plain()})
            rows.add(summary["rows"])
            bench.say(
                f"{workers} workers {number + 1}/{bench.repeat}: {taken.wall:.1f} s, scoring {taken.scoring:.1f} s, "
                f"no process held more than {most:.0f} MB"
            )
    if len(rows) > 1:
        raise BenchmarkFailed(f"the same file gave {sorted(rows)} rows")
    return found


def _make(folder: Path, share: float) -> None:
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    values = np.random.default_rng(0).normal(size=(BLOCK_ROWS, len(data.COLUMNS))).round(6)
    with (folder / "all.csv").open("wb") as stream:
        while stream.tell() < max(BYTES * share, LEAST_BYTES):
            first = stream.tell() == 0
            # Blocks differ, but drawing them all anew would take longer than scoring them.
            values = np.roll(values, 1, axis=1)
            table = pa.table({name: values[:, number] for number, name in enumerate(data.COLUMNS)})
            csv.write_csv(table, stream, csv.WriteOptions(include_header=first))


WORKLOAD = data.Workload("gigabyte", "one CSV file of 1 GB", "csv", _make, "64MB")
