"""A part's tables on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import data
from kept import fastest_first, median_of, number, ratio_of, values_of
from side_by_side import TITLES

Runs = list[dict[str, Any]]
MEASURED = ("Seconds", "Range", "Processor seconds", "Scoring phase")


@dataclass(frozen=True)
class Section:
    """What the page says of a part; the text is for those who have not read the code."""

    title: str
    text: str
    tables: Callable[[dict[str, Any]], list[str]]
    plot: bool = False
    """Whether plots.py draws it."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(runs: Runs, what: str) -> str:
    values = values_of(runs, what)
    return f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else ""


def _median(runs: Runs, what: str) -> str:
    return number(median_of(runs, what)) if values_of(runs, what) else ""


def _measured(runs: Runs) -> list[str]:
    """The cells below MEASURED."""
    return [_median(runs, "wall"), _range(runs, "wall"), _median(runs, "busy"), _median(runs, "scoring")]


def _phase(runs: Runs) -> list[str]:
    return [_median(runs, "scoring"), _range(runs, "scoring")]


def _side_by_side(found: dict[str, Any]) -> list[str]:
    rows = [
        [TITLES[name], *_measured(found[name]), "" if name == "ours" else number(ratio)]
        for name in fastest_first(found)
        if (ratio := ratio_of(found, name, "wall")) is not None
    ]
    rows += [[TITLES[name], "not run", "", "", "", ""] for name in ("ray", "spark") if not found.get(name)]
    return [table(["Contender", *MEASURED, "Ours takes, of that"], rows)]


def _mini_batches(found: dict[str, Any]) -> list[str]:
    rows: list[list[str]] = []
    for name, runs in found.items():
        count = runs[0]["completed"] if name == "stock" else int(name)
        title = f"{count:,} by Prefect's own map" if name == "stock" else f"{count:,}"
        each = [number(1000 * median_of(runs, what) / count) for what in ("wall", "scoring")]
        rows.append([title, *_measured(runs), *each, number(min(run["completed"] for run in runs))])
    return [table(["Mini-batches", *MEASURED, "ms each", "ms each, scoring phase", "Task runs completed"], rows)]


def _growth(what: str) -> Callable[[dict[str, Any]], list[str]]:
    def tables(found: dict[str, Any]) -> list[str]:
        rows = [
            [f"{int(size):,}", *_measured(runs), number(1e6 * median_of(runs, "scoring") / int(size)), str(len(runs))]
            for size, runs in found.items()
        ]
        return [table([what, *MEASURED, "µs each, scoring phase", "Runs"], rows)]

    return tables


def _workers(found: dict[str, Any]) -> list[str]:
    rows = [
        [workers, *_phase(runs), number(least), number(least / phase)]
        for workers, runs in found.items()
        for least, phase in [(runs[0]["least"], median_of(runs, "scoring"))]
    ]
    return [table(["Workers", "Scoring phase", "Range", "Sleep alone", "Efficiency"], rows)]


def _fixed_cost(found: dict[str, Any]) -> list[str]:
    names = {"busy": "processor seconds of the whole machine"}
    runs = found["runs"]
    return [
        table(["Part", "Seconds", "Range"], [[names.get(k, k), _median(runs, k), _range(runs, k)] for k in runs[0]])
    ]


def _memory(found: dict[str, Any]) -> list[str]:
    kinds = ("flow_mb", "flow_own_mb", "own_mb")
    rows = [[f"{int(count):,}", *(_median(runs, what) for what in ("wall", *kinds))] for count, runs in found.items()]
    return [table(["Items", "Seconds", "Flow, MB", "Flow, not shared, MB", "All processes, not shared, MB"], rows)]


def _one_large_file(found: dict[str, Any]) -> list[str]:
    rows: list[list[str]] = []
    for workers, runs in found.items():
        most, own = max(values_of(runs, "most_mb")), max(run["used"]["own"] for run in runs)
        rows.append([workers, *_measured(runs), number(most), number(own)])
    return [table(["Workers", *MEASURED, "One process, MB", "All, not shared, MB"], rows), _roles(found)]


def _roles(found: dict[str, Any]) -> str:
    """What processes of each kind used: the most memory in any run, and processor seconds by number of workers."""
    used = {workers: [run["used"]["roles"] for run in runs] for workers, runs in found.items()}
    kinds = sorted({kind for runs in used.values() for run in runs for kind in run})

    def most(kind: str, what: str) -> str:
        return number(max(run[kind][what] for runs in used.values() for run in runs if kind in run))

    rows = [
        [kind, most(kind, "resident"), most(kind, "own")]
        + [_median([run[kind] for run in runs if kind in run], "seconds") for runs in used.values()]
        for kind in kinds
    ]
    seconds = [f"Processor seconds, {workers} worker{'s' * (workers != '1')}" for workers in used]
    return table(["Process", "MB", "Not shared, MB", *seconds], rows)


def _command_line(found: dict[str, Any]) -> list[str]:
    imported = {name: ", ".join(modules) or "none" for name, modules in found["imported"].items()}
    rows = [
        [f"`{name}`", _median(runs, "wall"), _range(runs, "wall"), imported.get(name, "")]
        for name, runs in found["seconds"].items()
    ]
    return [table(["Command", "Seconds", "Range", "Large packages that it imports"], rows)]


def _slow_server(found: dict[str, Any]) -> list[str]:
    titles = {"delayed": "answers each request 300 ms later", "restarted": "killed, and started again 10 s later"}
    usual = median_of(found["undisturbed"], "scoring")
    rows: list[list[str]] = []
    for name, runs in found.items():
        ratio = number(median_of(runs, "scoring") / usual)
        rows.append([titles.get(name, name), *_phase(runs), ratio, _median(runs, "wall")])
    return [table(["Server", "Scoring phase", "Range", "Of undisturbed", "Seconds"], rows)]


def _staging(found: dict[str, Any]) -> list[str]:
    rows = [[way, _median(runs, "wall"), _range(runs, "wall")] for way, runs in found.items()]
    return [table(["Files", "Seconds", "Range"], rows)]


DASHED = "Dashed: had the seconds gone on in a straight line through the first three sizes; all axes are logarithmic."
SECTIONS: dict[str, Section] = {
    **{
        workload.name: Section(
            workload.name.capitalize(), f"{workload.title[0].upper()}{workload.title[1:]}.", _side_by_side, plot=True
        )
        for workload in data.WORKLOADS
    },
    "fixed_cost": Section(
        "Fixed cost",
        "Where the seconds go of a job that has next to nothing to do: one file of five rows.",
        _fixed_cost,
    ),
    "mini_batches": Section(
        "Mini-batches",
        "What a mini-batch costs beside its scoring: empty files, scored by a no-op, one a mini-batch. Up to 1,000 of "
        "them have a task run each; more of them share 250 to 1,000. Prefect's own map is `task.map` over its "
        "`DaskTaskRunner`, with a task that does nothing; its scoring phase is the map alone.",
        _mini_batches,
    ),
    "growth_mini_batches": Section(
        "Growth with mini-batches",
        f"The same, from ten to a hundred thousand. {DASHED}",
        _growth("Mini-batches"),
        plot=True,
    ),
    "growth_rows": Section(
        "Growth with rows", f"One CSV file, cut into mini-batches of 16 MB. {DASHED}", _growth("Rows"), plot=True
    ),
    "growth_workers": Section(
        "Growth with workers",
        "Files that a script sleeps 0.1 seconds for, each a mini-batch, on instances of one scoring process. Sleep "
        "needs no processor, so there may be more workers than the machine has of those.",
        _workers,
        plot=True,
    ),
    "memory": Section(
        "Memory of the flow",
        "The most that the process of the job's flow held, which lists all items and hands them out.",
        _memory,
    ),
    "one_large_file": Section(
        "One large file",
        "A CSV file of 1 GB in mini-batches of 64 MB, on instances of one scoring process. MB are the most of any run.",
        _one_large_file,
    ),
    "command_line": Section(
        "Command line", "From start to end, five times or more; the last two ask a server.", _command_line
    ),
    "slow_server": Section(
        "Slow and absent server", "The same job beside a server that is well, slow, or away for a while.", _slow_server
    ),
    "staging": Section(
        "Staging", "1,000 files of 1 KiB, fetched from an S3 server whose answers take 30 ms.", _staging
    ),
}
"""By part, in the order of the page."""
