"""How a job ended: summary.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from .job import Job

SUMMARY = "summary.json"


@dataclass
class Summary:
    """How a job ended; summary.json."""

    job: str
    endpoint: str | None
    deployment: str
    state: str
    message: str
    input: str
    output: str
    items: int
    succeeded: int
    failed: int
    rows: int
    mini_batches: int
    retried_mini_batches: int
    error_threshold: int | str
    parallelism: int
    runs: int
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def completed(self) -> bool:
        return self.state == "Completed"

    def to_json(self) -> bytes:
        return json.dumps(vars(self), indent=1).encode()


def read_summary(job: Job) -> Summary | None:
    """How the job ended when it last did, or None."""
    try:
        return Summary(**json.loads(job.folder.read(SUMMARY)))
    except FileNotFoundError:
        return None
