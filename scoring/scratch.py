"""Folders for what a process needs on disk for a while only, in the temporary folder of its machine.

A killed process leaves its folders behind, full ones perhaps. Their names say whose they are, and whoever makes the
next one on the same machine removes them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Generator
from pathlib import Path

_PREFIX = "prefect-batch"


def node() -> str:
    """The name of this process, unique among machines."""
    return f"{socket.gethostname()}-{os.getpid()}"


def may_live(name: str) -> bool:
    """Whether the process of that node() may still run; nobody here knows of other machines."""
    host, _, pid = name.rpartition("-")
    return host != socket.gethostname() or _alive(int(pid))


def make() -> Path:
    """A new folder, to be removed by the caller."""
    _sweep()
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{node()}-"))


@contextlib.contextmanager
def folder() -> Generator[Path]:
    """A new folder for the time of the block."""
    made = make()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _sweep() -> None:
    """Remove the folders of processes of this machine that were killed before they could."""
    mine = re.compile(rf"{_PREFIX}-{re.escape(socket.gethostname())}-(\d+)-")
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}-*"):
        if (match := mine.match(left.name)) and not _alive(int(match[1])):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
