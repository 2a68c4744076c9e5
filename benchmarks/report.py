"""docs/benchmarks.md, from what the parts have measured."""

from __future__ import annotations

import re
from pathlib import Path

import bars
import data
import sections
from kept import Found, read
from side_by_side import TITLES

IMAGES = "images/benchmarks"
"""Plots, seen from the page; plots.py draws them."""
OVERVIEW = "overview"
HEAD = """\
# Benchmarks

What `make bench` has measured, all of it. The parts are scripts in [benchmarks](../benchmarks), their results are kept
in [benchmarks/results](../benchmarks/results), and this page is written from those.

- **The same work.** All contenders score the same files with the same model, each as its own users would write it
  ([benchmarks/peers](../benchmarks/peers)), in the versions of
  [constraints.txt](../benchmarks/requirements/constraints.txt). A run in which rows are missing is an error.
- **Two workers** of one thread each, also inside of libraries, on one machine; the loop is a single process.
- **Interleaved.** One run of each contender, and again: A B A B. Tables have the median and the range of the runs.
- **Seconds** are by the clock. Ours are from the call of `prefect deployment run` until the outputs are in place, on a
  server and a worker that run already; the others' from the start of their process to its end, clusters included.
  The scoring phase leaves out starts and the loading of the model, where a contender tells.
- **Processor seconds** are those of the whole machine meanwhile, servers and daemons included.
"""


def write(results: Path, page: Path) -> None:
    """Write the page anew from all results that are there, and the findings beside them."""
    found = read(results)
    machines = {_machine(result) for result in found.values()}
    blocks = [HEAD, *(machines if len(machines) == 1 else []), *_bars(found)]
    for part in sections.SECTIONS:
        if part in found:
            blocks += _section(part, found[part], several=len(machines) > 1)
    findings = results.parent / "findings.md"
    text = findings.read_text(encoding="utf-8").strip() if findings.exists() else ""
    if "\n" in text:  # a heading alone says nothing
        blocks.append(text)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(block.strip() for block in blocks) + "\n", encoding="utf-8")


def _bars(found: dict[str, Found]) -> list[str]:
    rows = [bar.cells for bar in bars.all_of(found)]
    lacking = [section.title.lower() for part, section in sections.SECTIONS.items() if part not in found]
    compared = any(workload.name in found for workload in data.WORKLOADS)
    overview = f"![Our time against each other contender's, by workload]({IMAGES}/{OVERVIEW}.svg)"
    return [
        *(["## Bars", sections.table(["What", "Seen", "Bar", "Met"], rows)] if rows else []),
        *([f"Not measured yet: {', '.join(lacking)}."] if lacking else []),
        *(["## Overview", overview] if compared else []),
    ]


def _section(part: str, result: Found, several: bool) -> list[str]:
    section = sections.SECTIONS[part]
    plot = [f"![{section.title}]({IMAGES}/{part}.svg)"] if section.plot else []
    return [f"## {section.title}", section.text, *plot, *section.tables(result["found"]), _when(result, several)]


def _when(result: Found, several: bool) -> str:
    load = re.search(r"load ([\d.]+)", result["machine"])
    by_size = [runs for runs in result["found"].values() if isinstance(runs, list)]
    count = max(map(len, by_size), default=result["repeat"])
    facts = [
        result["date"],
        f"{count} round{'s' * (count != 1)}",
        *([f"load of the machine before: {load[1]}"] if load else []),
    ]
    lines = [f"{', '.join(facts)}.", *([_machine(result)] if several else [])]
    lines += [f"Without {TITLES.get(name, name)}: {why}." for name, why in result.get("left_out", {}).items()]
    return " ".join(lines)


def _machine(result: Found) -> str:
    """Without the load, which is another each time."""
    system, versions = re.sub(r", load [\d.]+", "", result["machine"]).split("\n")
    return f"{system}. {versions}."
