"""The scoring process: a child Python that owns the model. Started as `python -P -m prefect_batch.scoring.process`.

It is a process of its own because a run() that hangs or crashes must be killed and tried again, and because user code
must not touch the worker. It talks to its supervisor over file descriptors of its own; stdin, stdout and stderr are
the script's to use or to break.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from . import messages
from .contract import Scorer, ScoringSpec
from .errors import MiniBatchFailed
from .items import LocalItem
from .traces import describe, traceback_text

MOST_BYTES = 2**30
"""That one mini-batch may return, encoded: its parts are held in memory as a whole by whoever commits them."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(requests_fd: int, replies_fd: int, lifeline_fd: int) -> None:
    """Answer requests until the supervisor says shutdown or goes away."""
    _keep_to_ourselves([requests_fd, replies_fd, lifeline_fd])
    threading.Thread(target=_die_with_supervisor, args=(lifeline_fd,), daemon=True).start()
    spec = ScoringSpec(**json.loads(messages.receive(requests_fd)))
    _prepare(spec)
    try:
        scorer = _load(spec)
    except BaseException as error:
        _reply(replies_fd, {"ok": False, **_failure(error)})
        return
    _reply(replies_fd, {"ok": True})
    while (request := json.loads(messages.receive(requests_fd))) is not None:
        _answer(scorer, request, replies_fd)
    scorer.shutdown()
    _leave()


def _leave() -> None:
    """End as Python does, but without taking apart all that was imported: that takes half a second, and longer than
    many a mini-batch."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    _flush()
    os._exit(0)


def _answer(scorer: Scorer, request: dict[str, Any], replies_fd: int) -> None:
    try:
        items = [LocalItem(**item) for item in request["items"]]
        scored = scorer.score(items, request["final"])
        _check_size(len(scored.chunk.data))
    except BaseException as error:  # sys.exit() in a script fails its mini-batch, not the process
        _reply(replies_fd, {"ok": False, **_failure(error)})
        return
    chunk = scored.chunk
    errors = [error.to_dict() for error in scored.errors]
    _reply(
        replies_fd,
        {"ok": True, "rows": chunk.rows, "columns": chunk.columns, "failed": scored.failed, "errors": errors},
    )
    messages.send(replies_fd, chunk.data)


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        raise MiniBatchFailed(
            f"run() returned {size / 2**20:.0f} MiB, more than the {MOST_BYTES / 2**20:.0f} MiB that one mini-batch "
            "may return: lower mini_batch_size, or let run() write files",
            "ResultTooLarge",
        )


def _failure(error: BaseException) -> dict[str, str]:
    kind, message = describe(error)
    if isinstance(error, MiniBatchFailed):
        return {"error_type": error.error_type, "message": message, "traceback": error.traceback}
    return {"error_type": kind, "message": message, "traceback": traceback_text(error)}


def _reply(replies_fd: int, message: dict[str, Any]) -> None:
    _flush()
    messages.send(replies_fd, json.dumps(message).encode())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the script closed or replaced it
            stream.flush()


def _load(spec: ScoringSpec) -> Scorer:
    if spec.scoring_script is not None:
        from .script import ScriptScorer

        return ScriptScorer(spec)
    from .mlflow_model import MlflowScorer

    return MlflowScorer(spec)


def _prepare(spec: ScoringSpec) -> None:
    # Ctrl-C in a terminal reaches the whole foreground group: ending is the supervisor's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # Linux: if memory runs out, end this process rather than one that has a job
        Path("/proc/self/oom_score_adj").write_text("500")
    logging.basicConfig(level=spec.logging_level.upper(), format=LOG_FORMAT, stream=sys.stderr, force=True)
    if spec.code_dir:
        os.chdir(spec.code_dir)


def _keep_to_ourselves(fds: list[int]) -> None:
    """Keep our file descriptors from what the script starts: held open there they would outlive us, and neither our
    death nor the supervisor's would show at the other end."""
    for fd in fds:
        os.set_inheritable(fd, False)

    def close() -> None:
        while fds:  # emptied, for a fork of the fork: the numbers may mean something else by then
            with contextlib.suppress(OSError):
                os.close(fds.pop())

    os.register_at_fork(after_in_child=close)


def _die_with_supervisor(lifeline_fd: int) -> None:
    """Blocks until the other end of the pipe is gone, however its owner died; then takes the whole group along."""
    os.read(lifeline_fd, 1)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main(*(int(fd) for fd in sys.argv[1:4]))
