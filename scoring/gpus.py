"""The GPUs of an instance: which of them each of its scoring processes sees.

Where several instances share a machine, each holds its GPUs by locks in the machine's temporary folder, which end
with the process that holds them: no two have the same one, and what takes the place of a lost instance finds its GPUs.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/gpus")


class Gpus:
    """The GPUs of this instance for the time of a job.

    Args:
        count: how many it has; 0 for what is left as it is.
        shared: whether other instances are on this machine.
        environ: says which are to be seen from here: the names in CUDA_VISIBLE_DEVICES, else 0, 1, 2 and so on.
    """

    def __init__(self, count: int, shared: bool = False, environ: Mapping[str, str] = os.environ) -> None:
        self._count, self._locks = count, list[int]()
        there = _there(environ) if count else ()
        self.names: list[str] = self._claim(there) if shared else list(itertools.islice(there, count))

    def _claim(self, there: Iterable[str]) -> list[str]:
        """The first ones that no other process of this user holds."""
        names: list[str] = []
        for name in there:
            if len(names) == self._count:
                break
            if (lock := _lock(name)) is not None:
                self._locks.append(lock)
                names.append(name)
        return names

    def environment(self, process: int) -> dict[str, str]:
        """What scoring process number `process`, from 0, is to have in its environment: one GPU, or none."""
        if not self._count:
            return {}
        return {VISIBLE: self.names[process] if process < len(self.names) else ""}

    def release(self) -> None:
        """Let others have them."""
        while self._locks:
            os.close(self._locks.pop())


def _there(environ: Mapping[str, str]) -> Iterable[str]:
    if (visible := environ.get(VISIBLE)) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        return map(str, range(len(list(_DRIVER.iterdir()))))
    except OSError:
        return map(str, itertools.count())  # a driver that does not tell


def _lock(name: str) -> int | None:
    """A file descriptor that holds the GPU until it is closed; None where somebody else has it."""
    file = f"prefect-batch-gpu-{os.getuid()}-{re.sub(r'[^0-9A-Za-z.-]', '_', name)}.lock"
    lock = os.open(Path(tempfile.gettempdir()) / file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
