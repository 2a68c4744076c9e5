"""Tasks of a Python flow as they run on a worker: in their job, and not again when the job is resumed.

<job>/results/<label>.pickle    what a task returned that has finished; a resumed job takes it from there

A result is written after the task's files were sent, so that a task that counts as finished has left nothing behind.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from prefect.client.schemas.objects import State
from prefect.states import Completed

from ..blocks.datastore import open_folder
from ..scoring.traces import describe
from . import data_files
from .data import CURRENT_JOB
from .task_runner import LABEL

RESULTS = "results"
CACHED = "Cached"
"""Name of the state of a task whose result an earlier run of the job has left."""


class InJob:
    """A task's function that runs in a job. Its result is kept under the label of the call, if that has one.

    An object, not a function made here: those travel to workers with all the variables that they use.

    Args:
        function: of the task.
        job: reference of the job's folder.
        isasync: whether it is a coroutine function.
    """

    def __init__(self, function: Callable[..., Any], job: str, isasync: bool) -> None:
        functools.update_wrapper(self, function)
        self._function, self._job, self._isasync = function, job, isasync

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._isasync:
            return self._call(*args, **kwargs)
        label = LABEL.get()
        if (held := _kept(self._job, label)) is not None:
            return held
        with _current(self._job), _harmless():
            value = self._function(*args, **kwargs)
            data_files.send(self._job)
        _keep(self._job, label, value)
        return value

    async def _call(self, *args: Any, **kwargs: Any) -> Any:
        label = LABEL.get()
        if (held := _kept(self._job, label)) is not None:
            return held
        with _current(self._job), _harmless():
            value = await self._function(*args, **kwargs)
            data_files.send(self._job)
        _keep(self._job, label, value)
        return value


@contextmanager
def _current(job: str) -> Generator[None]:
    token = CURRENT_JOB.set(job)
    try:
        yield
    finally:
        CURRENT_JOB.reset(token)


@contextmanager
def _harmless() -> Generator[None]:
    """A task ends as failed, with an error that reaches the flow: sys.exit() would end the worker, with all that runs
    there, and an error that cannot be pickled is none of its own by the time that the flow sees it."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        raise exited(error) from None
    except Exception as error:
        try:
            cloudpickle.loads(cloudpickle.dumps(error))  # pyright: ignore[reportUnknownMemberType]
        except Exception:
            raise RuntimeError(": ".join(describe(error))).with_traceback(error.__traceback__) from None
        raise


def exited(error: BaseException) -> RuntimeError:
    """What is raised instead of a SystemExit or KeyboardInterrupt, from the same place."""
    said = f"sys.exit({error.code!r}) was called" if isinstance(error, SystemExit) else type(error).__name__
    return RuntimeError(said).with_traceback(error.__traceback__)


def _kept(job: str, label: str | None) -> State[Any] | None:
    if label is None:
        return None
    try:
        pickled = (open_folder(job) / RESULTS).read(f"{label}.pickle")
    except FileNotFoundError:
        return None
    value: Any = cloudpickle.loads(pickled)  # written by _keep, of this job
    return Completed(name=CACHED, message="An earlier run of the job has done this.", data=value)


def _keep(job: str, label: str | None, value: Any) -> None:
    if label is None or isinstance(value, State):
        return
    try:
        pickled: bytes = cloudpickle.dumps(value)  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:
        raise TypeError(f"what it returns cannot be pickled: {describe(error)[1]}") from None
    (open_folder(job) / RESULTS).make().put(f"{label}.pickle", pickled)
