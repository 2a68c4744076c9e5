"""What became of each fault that was tried: one JSON line each, where $CHAOS_RESULTS says."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = "CHAOS_RESULTS"


@dataclass
class Trial:
    """A fault, once."""

    fault: str
    """As the table has it."""
    kind: str
    """The part of the table."""
    seed: int = 0
    lost: int = 0
    """Rows."""
    doubled: int = 0
    left: list[str] = field(default_factory=list[str])
    passed: bool = False
    """Whether all was as promised."""
    resumed: int = 0
    """How often the job had ended without its output, and was resumed."""
    seconds: float = 0.0
    told: str = ""
    """Its numbers, where there is more to tell than that."""
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))


def keep(trial: Trial) -> None:
    """Append it, if anybody wants to know."""
    if path := os.environ.get(RESULTS):
        with Path(path).open("a") as stream:
            stream.write(json.dumps(asdict(trial)) + "\n")
