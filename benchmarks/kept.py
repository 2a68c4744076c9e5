"""Results that earlier runs have left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import measuring

Found = dict[str, Any]
"""What is kept of a part."""


def read(results: Path) -> dict[str, Found]:
    """All that are there, by the parts' names."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}


def values_of(runs: list[dict[str, Any]], what: str) -> list[float]:
    """One of each run that tells it."""
    return [run[what] for run in runs if run.get(what) is not None]


def median_of(runs: list[dict[str, Any]], what: str) -> float:
    return measuring.median(values_of(runs, what))


def fastest_first(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Contenders that were run, by their seconds."""
    return sorted((name for name in runs if runs[name]), key=lambda name: median_of(runs[name], "wall"))


def ratio_of(runs: dict[str, list[dict[str, Any]]], peer: str, what: str) -> float | None:
    """What part of the peer's median ours is; None where that one was not run."""
    return median_of(runs["ours"], what) / median_of(runs[peer], what) if runs.get(peer) else None


def number(value: float, more: int = 0) -> str:
    """With as many digits as matter, and so many more."""
    digits = more + (0 if value >= 100 else 1 if value >= 10 else 2)
    return f"{value:,.{digits}f}"
