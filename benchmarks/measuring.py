"""What a command took: seconds by the clock, and seconds of the machine's processors."""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

LIMIT_SECONDS = 1800
REST_SECONDS, AT_REST = 300, 0.2
"""How long a machine may take to come to rest, and the processor seconds a second of one that has."""


class BenchmarkFailed(Exception):
    """A command ended with an error; the message has its last lines."""


@dataclass(frozen=True)
class Taken:
    """By one run."""

    wall: float
    """Seconds."""
    busy: float
    """Processor seconds of everything that ran on the machine meanwhile: of servers and daemons, too."""
    scoring: float | None = None
    """Seconds, without start and load, where the contender tells."""

    def plain(self) -> dict[str, float | None]:
        return asdict(self)


def processor_seconds() -> float:
    """That the machine's processors have worked since it started."""
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))


def at_rest() -> None:
    """Return once the machine has nothing to do: a Prefect server goes on storing events after a run.

    Raises BenchmarkFailed.
    """
    until = time.monotonic() + REST_SECONDS
    while time.monotonic() < until:
        busy = processor_seconds()
        time.sleep(1)
        if processor_seconds() - busy < AT_REST:
            return
    raise BenchmarkFailed(f"the machine did not come to rest within {REST_SECONDS} s: something else runs on it")


def run(command: Sequence[str | Path], env: Mapping[str, str], folder: Path) -> tuple[Taken, str]:
    """Run a command to its end; what it took and printed. Raises BenchmarkFailed."""
    busy, began = processor_seconds(), time.monotonic()
    done = subprocess.run(
        [str(part) for part in command],
        env=dict(env),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    wall, busy = time.monotonic() - began, processor_seconds() - busy
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise BenchmarkFailed(f"{' '.join(map(str, command))} ended with exit code {done.returncode}:\n{last}")
    told = re.search(r"^scoring ([\d.]+)$", done.stdout, re.MULTILINE)
    return Taken(wall, busy, float(told[1]) if told else None), done.stdout


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))
