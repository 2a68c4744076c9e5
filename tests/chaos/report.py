"""docs/reliability.md from what trials have left: `python tests/chaos/report.py RESULTS`."""

from __future__ import annotations

import json
import platform
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
COLUMNS = ("fault", "times tried", "rows lost", "rows doubled", "left behind", "resumed", "not as promised")
HEAD = """# Reliability

What was done to jobs while they ran, how often, and what became of their rows. Written by `make chaos`, which does each
at random moments; `make test` does each once. After every trial the output is compared, byte for byte, with that of an
undisturbed run, and nothing may be left behind: no process, no port, no temporary folder, no half-written file. A job
that had ended without its output was resumed (`prefect-batch job resume`) until it had one; it always said why.

A clock that is set back by some seconds in mid-job may hold the job up for as long: Dask's connections go by it.

What is promised, and what is not, is in [SECURITY.md](../SECURITY.md) and in the [README](../README.md).

"""


def rows(trials: list[dict[str, Any]]) -> list[str]:
    """Lines of the table of one kind, a fault each."""
    found: list[str] = []
    by_fault = sorted(trials, key=lambda trial: trial["fault"])
    for fault, group in groupby(by_fault, key=lambda trial: trial["fault"]):
        tried = list(group)
        lost, doubled = sum(one["lost"] for one in tried), sum(one["doubled"] for one in tried)
        left, resumed = sum(len(one["left"]) for one in tried), sum(one["resumed"] for one in tried)
        failed = sum(not one["passed"] for one in tried)
        found.append(f"| {fault} | {len(tried)} | {lost} | {doubled} | {left} | {resumed} | {failed} |")
    return found


def page(trials: list[dict[str, Any]], where: str) -> str:
    lines = [f"{len(trials)} trials, {where}.\n"]
    for kind, group in groupby(sorted(trials, key=lambda trial: trial["kind"]), key=lambda trial: trial["kind"]):
        tried = list(group)
        lines += [f"## {kind}\n", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *rows(tried), ""]
        lines += [f"{one['fault']}: {one['told']}.\n" for one in tried if one["told"]]
    return HEAD + "\n".join(lines)


def days(trials: list[dict[str, Any]]) -> str:
    """When they were made."""
    dates = [trial["date"] for trial in trials]
    first, last = min(dates), max(dates)
    return first if first == last else f"{first} to {last}"


def main(results: Path) -> None:
    trials = [json.loads(line) for line in results.read_text().splitlines()]
    where = f"{days(trials)}, {platform.platform()}, Python {platform.python_version()}"
    PAGE.write_text(page(trials, where))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
