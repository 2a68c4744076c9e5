"""The page's plots, from what the parts have measured. The same results give the same files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import data
import matplotlib as mpl
import numpy as np
from kept import Found, fastest_first, median_of, number, ratio_of, read, values_of
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from report import OVERVIEW
from side_by_side import TITLES

WALL, BUSY, SCORING, LINE = "#0b6fb8", "#e08a1e", "#3a9d5d", "#777777"
PEERS = {
    "loop": ("#777777", "o"),
    "dask": ("#e08a1e", "s"),
    "prefect": ("#0b6fb8", "D"),
    "ray": ("#8e5bb5", "^"),
    "spark": ("#c0392b", "v"),
    "mlflow": ("#3a9d5d", "P"),
}
"""Colours and markers."""
TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
"""Of ratios; from one to the next it is 2.5 times or less."""
FIRST = [0, 1, 2]
"""The points that say what linear growth would be: a constant and a slope, so that it bends on logarithmic axes."""
WIDTH = 7.2
"""Inches; SVG has 72 points each, so that text of ten points is legible in a column of 700 pixels."""
STYLE: dict[str, Any] = {
    "svg.hashsalt": "benchmarks",  # ids are random otherwise, and each drawing another file
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


def write(results: Path, folder: Path) -> None:
    """Draw all plots for which there are results."""
    found = read(results)
    folder.mkdir(parents=True, exist_ok=True)
    workloads = [workload for workload in data.WORKLOADS if workload.name in found]
    with mpl.rc_context(STYLE):
        for workload in workloads:
            _bars(workload, found[workload.name]["found"], folder)
        if workloads:
            _overview({workload.name: found[workload.name]["found"] for workload in workloads}, folder)
        for part, what in (("growth_mini_batches", "mini-batches"), ("growth_rows", "rows")):
            if part in found:
                _growth(part, what, found[part]["found"], folder)
        if "growth_workers" in found:
            _workers(found["growth_workers"], folder)


@contextmanager
def _drawn(path: Path, height: float) -> Iterator[Axes]:
    figure, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    axes.grid(color="#e4e4e4", linewidth=0.8)
    yield axes
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def _spread(runs: list[dict[str, Any]], what: str) -> tuple[float, float, float]:
    """The median, and how far the least and the most are from it."""
    middle, values = median_of(runs, what), values_of(runs, what)
    return middle, middle - min(values), max(values) - middle


def _bars(workload: data.Workload, found: dict[str, Any], folder: Path) -> None:
    """Seconds beside processor seconds, the fastest on top."""
    names = fastest_first(found)
    with _drawn(folder / f"{workload.name}.svg", 1.3 + 0.55 * len(names)) as axes:
        for offset, what, label, colour in ((-0.2, "wall", "seconds", WALL), (0.2, "busy", "processor seconds", BUSY)):
            middle, below, above = np.array([_spread(found[name], what) for name in names]).T
            drawn = axes.barh(
                np.arange(len(names)) + offset, middle, 0.38, xerr=[below, above], color=colour, label=label,
                error_kw={"elinewidth": 1, "capsize": 2.5, "ecolor": "#333333"},
            )  # fmt: skip
            axes.bar_label(drawn, [number(value) for value in middle], padding=4, fontsize=8.5)
        axes.set_yticks(range(len(names)), [TITLES[name] for name in names])
        axes.get_yticklabels()[names.index("ours")].set_fontweight("bold")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.1)
        axes.set_xlabel("seconds: median, least and most of the runs")
        axes.set_title(workload.title, loc="left", fontsize=11)
        axes.figure.legend(loc="outside upper right", ncols=2, frameon=False)


def _overview(found: dict[str, dict[str, Any]], folder: Path) -> None:
    """What part of each other contender's time ours is."""
    with _drawn(folder / f"{OVERVIEW}.svg", 1.6 + 0.5 * len(found)) as axes:
        for peer, (colour, marker) in PEERS.items():
            points = [
                (ratio, row)
                for row, runs in enumerate(found.values())
                if (ratio := ratio_of(runs, peer, "wall")) is not None
            ]
            if points:
                axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=8, label=TITLES[peer])
        axes.axvline(1, color=LINE, linewidth=1)
        axes.set_xscale("log")
        axes.set_yticks(range(len(found)), found)
        axes.set_ylim(len(found) - 0.5, -0.5)
        least, most = axes.dataLim.intervalx
        ticks = [tick for tick in TICKS if least / 2.5 <= tick <= most * 2.5]
        axes.set_xlim(ticks[0] / 1.05, ticks[-1] * 1.05)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("our seconds as part of theirs: left of 1 we are faster")
        axes.figure.legend(loc="outside upper center", ncols=3, frameon=False)


def _growth(part: str, what: str, found: dict[str, Any], folder: Path) -> None:
    """Seconds by size, beside a line through the scoring phase's first points."""
    sizes = np.array([int(size) for size in found])
    with _drawn(folder / f"{part}.svg", 4.2) as axes:
        for seconds, label, colour in (("wall", "call to outputs", WALL), ("scoring", "scoring phase", SCORING)):
            middle, below, above = np.array([_spread(runs, seconds) for runs in found.values()]).T
            axes.errorbar(sizes, middle, [below, above], marker="o", capsize=3, color=colour, label=label)
            if len(sizes) > len(FIRST):
                slope, start = np.polyfit(sizes[FIRST], middle[FIRST], 1)
                along = np.geomspace(sizes[0], sizes[-1], 100)
                axes.plot(along, start + slope * along, "--", color=colour, linewidth=1, label=f"{label}, if linear")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(what)
        axes.set_ylabel("seconds")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(frameon=False)


def _workers(result: Found, folder: Path) -> None:
    """How many times as fast as one worker."""
    found = result["found"]
    workers = np.array([int(count) for count in found])
    alone = values_of(found["1"], "scoring")
    speeds = [[np.median(alone) / seconds for seconds in values_of(runs, "scoring")] for runs in found.values()]
    middle = np.array([np.median(values) for values in speeds])
    most, least = (np.array([chosen(values) for values in speeds]) for chosen in (max, min))
    with _drawn(folder / "growth_workers.svg", 4.2) as axes:
        spread = [middle - least, most - middle]
        axes.errorbar(workers, middle, spread, marker="o", capsize=3, color=SCORING, label="scoring phase")
        axes.plot(workers, workers, "--", color=LINE, linewidth=1, label="if linear")
        axes.set_xticks(workers)
        axes.set_xlabel("workers")
        axes.set_ylabel("times as fast as one")
        axes.legend(frameon=False)
