"""The benchmarks: `python benchmarks [PART ...]`, all of them by default.

Each part's figures are kept in benchmarks/results/, and docs/benchmarks.md is written anew from all that are there,
with its plots.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import command_line
import data
import environments
import fixed_cost
import growth
import memory
import mini_batches
import one_large_file
import plots
import report
import side_by_side
import slow_server
import staging
from bench import HERE, Bench, Result
from machine import describe
from measuring import BenchmarkFailed
from ours import served

PARTS: dict[str, Callable[[Bench], Result]] = {
    **{workload.name: partial(side_by_side.measure, workload=workload) for workload in data.WORKLOADS},
    "mini_batches": mini_batches.measure,
    "fixed_cost": fixed_cost.measure,
    "growth_mini_batches": growth.mini_batches,
    "growth_rows": growth.rows,
    "growth_workers": growth.workers,
    "memory": memory.measure,
    "one_large_file": one_large_file.measure,
    "command_line": command_line.measure,
    "slow_server": slow_server.measure,
    "staging": staging.measure,
}
NEEDED = {"mini_batches": ["plain"]} | {workload.name: ["plain", "ray", "spark"] for workload in data.WORKLOADS}
"""Environments of other contenders, by part."""
PACKAGES = ("prefect", "dask", "mlflow", "scikit-learn", "pandas", "pyarrow")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--repeat", type=int, default=5, help="rounds of each part (default: %(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the full size, for a trial that is not kept")
    parser.add_argument("--folder", type=Path, default=HERE.parent / ".bench", help="for environments and data")
    given = parser.parse_args()
    where = describe(*PACKAGES)
    print(where, flush=True)
    folder: Path = given.folder.resolve()
    failed = 0
    for name in given.parts or PARTS:
        try:
            left_out = _leave_out(name, folder / "venvs")
            with tempfile.TemporaryDirectory() as work, served(Path(work)) as ours:
                bench = Bench(ours, folder / "venvs", folder / "data", Path(work), given.repeat, given.share)
                found = PARTS[name](bench)
        except Exception:  # the parts after it are not to be lost
            traceback.print_exc()
            failed += 1
            continue
        kept = {"date": time.strftime("%Y-%m-%d"), "machine": where, "repeat": given.repeat}
        kept |= {"left_out": left_out, "found": found}
        if given.share == 1:
            (HERE / "results").mkdir(exist_ok=True)
            (HERE / "results" / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
            docs = HERE.parent / "docs"
            report.write(HERE / "results", docs / "benchmarks.md")
            plots.write(HERE / "results", docs / report.IMAGES)
        else:
            print(json.dumps(found, indent=1))
    if failed:
        print(f"{failed} parts failed", file=sys.stderr)
    return min(failed, 1)


def _leave_out(part: str, venvs: Path) -> dict[str, str]:
    """Which contenders cannot be run here, and why; they are not, until the end of this process.

    Raises BenchmarkFailed where there is no part without them.
    """
    lacking = {name: why for name in NEEDED.get(part, []) if (why := environments.lacks(venvs, name)) is not None}
    if "plain" in lacking:
        raise BenchmarkFailed(lacking["plain"])
    for name, why in lacking.items():
        print(f"{part} without {name}: {why}", flush=True)
        side_by_side.CONTENDERS.pop(name, None)
    return lacking


if __name__ == "__main__":
    sys.exit(main())
