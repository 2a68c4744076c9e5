"""Runs a module for as long as stdin stays open: `python -m prefect_batch.scoring.tether -m MODULE ARGUMENT ...`.

A process that was started by ssh outlives its connection, and so would Dask's schedulers and workers outlive whoever
started them and was killed.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

GRACE_SECONDS = 10.0
"""For the module to end by itself, once it has been told."""


def main() -> None:
    """Raises SystemExit for arguments that name no module."""
    match sys.argv[1:]:
        case ["-m", module, *arguments]:
            threading.Thread(target=_end_with_stdin, name="tether", daemon=True).start()
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case _:
            sys.exit("usage: python -m prefect_batch.scoring.tether -m MODULE [ARGUMENT ...]")


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
