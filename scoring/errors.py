"""Every error that prefect-batch raises on purpose.

BatchError                      what a user sees as one line
├── InvalidDocument             a YAML file or request that says something impossible
├── NotFound                    a name that nothing stands behind
├── AlreadyExists               a name or an output path that is taken
├── Unauthenticated             a caller who does not prove who they are
├── Forbidden                   a caller who may not do that
├── NoServer                    no Prefect server is configured, or it does not answer
├── NoItems                     an input without a single file to score
├── JobFailed                   a job that ended without its output
│   ├── InitFailed              the deployment's init() never succeeded
│   └── BuildFailed             the environment of the scoring processes could not be built
├── StorageFailed               a storage that cannot be reached, or refuses for reasons of its own
│   └── DiskFull                a disk without room
├── Unreadable                  a file that is no input for the model
├── JobReleased                 a process was asked for, or still ran, after its job was over
├── StepFailed                  a step's command that ended without what it was to write
│   ├── StepKilled
│   └── StepTimedOut
└── MiniBatchFailed             one attempt at one mini-batch went wrong
    ├── RunTimedOut
    └── ProcessDied

An error's docstring is its message when none is given.
"""

from __future__ import annotations

import inspect


class BatchError(Exception):
    """Something went wrong in prefect-batch."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))


class InvalidDocument(BatchError):
    """The document is not valid."""


class NotFound(BatchError):
    """There is nothing of that name."""


class AlreadyExists(BatchError):
    """That name is taken."""


class Unauthenticated(BatchError):
    """A valid token is needed."""


class Forbidden(BatchError):
    """That is not allowed."""


class NoServer(BatchError):
    """No Prefect server answers: start one with `prefect-batch server start`, then set PREFECT_API_URL to the address it prints."""  # noqa: E501


class NoItems(BatchError):
    """The input holds no file to score: point the job at a folder with at least one file."""


class JobFailed(BatchError):
    """The job failed."""


class InitFailed(JobFailed):
    """The scoring process could not be started: init() failed."""


class BuildFailed(JobFailed):
    """The environment of the scoring processes could not be built."""


class StorageFailed(BatchError):
    """The storage failed: check that it can be reached and is well, then run it again."""


class DiskFull(StorageFailed):
    """A disk has no room left: make some, then run it again."""


class Unreadable(BatchError):
    """The file cannot be read as input of this model."""


class JobReleased(BatchError):
    """The job is over: its scoring processes were let go."""


class MiniBatchFailed(BatchError):
    """run() failed on this mini-batch."""

    def __init__(self, message: str | None = None, error_type: str | None = None, traceback: str = "") -> None:
        super().__init__(message)
        self.error_type = error_type or type(self).__name__
        self.traceback = traceback


class RunTimedOut(MiniBatchFailed):
    """run() took longer than retry_settings.timeout and was stopped: raise the timeout or lower mini_batch_size."""


class ProcessDied(MiniBatchFailed):
    """The scoring process died during run()."""


class StepFailed(BatchError):
    """The step's command failed."""


class StepKilled(StepFailed):
    """The step's command was killed."""


class StepTimedOut(StepFailed):
    """The step's command took longer than its timeout and was stopped: raise retry_settings.timeout."""
