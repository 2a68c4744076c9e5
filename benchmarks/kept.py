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


def number(value: float, more: int = 0) -> str:
    """With as many digits as matter, and so many more."""
    digits = more + (0 if value >= 100 else 1 if value >= 10 else 2)
    return f"{value:,.{digits}f}"
