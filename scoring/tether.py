"""Runs a module for as long as stdin stays open: `python -m prefect_batch.scoring.tether [--as NAME] -m MODULE ...`.

A process that was started by ssh outlives its connection, and so would Dask's schedulers and workers outlive whoever
started them and was killed. With a name, only one such process of a user runs on a machine at a time.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import signal
import sys
import tempfile
import threading
from pathlib import Path

GRACE_SECONDS = 10.0
"""For the module to end by itself, once it has been told."""


def main() -> None:
    """Raises SystemExit for arguments that name no module, and where another process has the name."""
    match sys.argv[1:]:
        case ["--as", name, "-m", module, *arguments]:
            _hold(name)
        case ["-m", module, *arguments]:
            pass
        case _:
            sys.exit("usage: python -m prefect_batch.scoring.tether [--as NAME] -m MODULE [ARGUMENT ...]")
    threading.Thread(target=_end_with_stdin, name="tether", daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _hold(name: str) -> None:
    """Until this process ends. Its children do not hold it."""
    path = Path(tempfile.gettempdir()) / f"prefect-batch-{os.getuid()}-{name}.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"{name} runs on this machine already")


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
