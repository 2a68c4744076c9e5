"""What every part of the benchmarks is given."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ours import Ours

HERE = Path(__file__).parent
PEERS = HERE / "peers"


@dataclass(frozen=True)
class Bench:
    """A running server, folders, and how often to measure."""

    ours: Ours
    venvs: Path
    """The contenders' environments."""
    cache: Path
    """Data and models, kept from one run to the next."""
    work: Path
    """Everything else; deleted at the end."""
    repeat: int
    share: float
    """Of the full size, for a trial."""

    def python(self, environment: str) -> Path:
        return self.venvs / environment / "bin" / "python"

    def scaled(self, count: int, least: int) -> int:
        return max(round(count * self.share), least)

    @staticmethod
    def say(line: str) -> None:
        print(time.strftime("%H:%M:%S"), line, flush=True)


Result = dict[str, Any]
"""What a part has found, as it is kept in a file."""
