"""Processes of this machine, as tests look at them."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def is_running(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has reaped, as in a container without an init, has."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def parent(pid: int) -> int:
    return psutil.Process(pid).ppid()


def below(pid: int) -> set[int]:
    """A process's children, and theirs; none of one that has ended."""
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def worker_pid() -> int:
    """The Dask worker of the scoring process that calls this: who holds the other ends of its pipes.

    Its parent may be a fork server. Scoring scripts of tests have this function, too.
    """

    def pipes(process: Path) -> set[str]:
        found: set[str] = set()
        try:
            for fd in (process / "fd").iterdir():
                try:
                    found.add(str(fd.readlink()))
                except FileNotFoundError:  # closed meanwhile
                    pass
        except OSError:  # it has ended
            pass
        return {link for link in found if link.startswith("pipe:")}

    mine = pipes(Path("/proc/self"))
    others = (path for path in Path("/proc").iterdir() if path.name.isdigit() and int(path.name) != os.getpid())
    return next(int(path.name) for path in others if pipes(path) & mine)
