"""The environment of a job's scoring processes: built on the machines that score, and held against the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .job import Job


def prepare(job: Job, dask: Any, say: Callable[[str], None]) -> list[str]:
    """Build the job's environment on every machine of its cluster; returns what of it does not suit the model.

    Args:
        job: as recorded.
        dask: client of the job's Dask cluster.
        say: receives each line of the builder's log as it comes.

    Raises JobFailed with the builder's whole log.
    """
    return []
