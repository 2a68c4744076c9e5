"""What a job that met with a fault may leave behind: nothing."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from .world import World

SECONDS = 60.0
KEPT = re.compile(r"prefect-batch-(snapshots|environments)-|runner_storage$|tmp.{8}prefect$")
"""Caches of a machine, which jobs share; what Prefect makes for each of its workers, all of it empty."""
CHANGING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=prefect-batch-)[a-z0-9_]{8}\b")
"""What is another each time in the name of the same thing."""


@dataclass(frozen=True)
class Seen:
    """Of a world at rest: how many of each."""

    processes: Counter[str]
    ports: Counter[str]
    files: Counter[str]

    def __sub__(self, other: Seen) -> list[str]:
        """What is here and not there, in words."""
        return [
            *(f"process {name}" for name in sorted((self.processes - other.processes).elements())),
            *(f"port of {name}" for name in sorted((self.ports - other.ports).elements())),
            *(f"file {name}" for name in sorted((self.files - other.files).elements())),
        ]


def look(world: World) -> Seen:
    """All processes of a world, what they listen on, and all temporary and half-written files."""
    processes, ports = Counter[str](), Counter[str]()
    for process in world.processes():
        with contextlib.suppress(psutil.Error):
            name = _what(process)
            processes[name] += 1
            ports[name] += len({one.laddr.port for one in process.net_connections() if one.status == "LISTEN"})
    return Seen(processes, ports, Counter(CHANGING.sub("*", path) for path in _files(world)))


def left_behind(world: World, before: Seen) -> list[str]:
    """What is still there after a minute of what was not there before; at once if it is nothing."""
    deadline = time.monotonic() + SECONDS
    while (left := look(world) - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _what(process: psutil.Process) -> str:
    return CHANGING.sub("*", f"{process.name()} {' '.join(process.cmdline())[-80:]}")


def _files(world: World) -> Iterator[str]:
    for path in _walk(world.temporary):
        if not any(map(KEPT.match, path.parts)):
            yield str(path)
    for path in _walk(world.root):
        if path.name.endswith((".tmp", ".partial", ".temporary")):
            yield str(path)


def _walk(folder: Path) -> Iterator[Path]:
    """Files and empty folders."""
    with contextlib.suppress(FileNotFoundError):  # somebody tidies up
        inside = sorted(folder.iterdir())
        for path in inside:
            if path.is_dir() and not path.is_symlink():
                yield from _walk(path)
            else:
                yield path
        if not inside:
            yield folder
