"""How a pipeline job ended: summary.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .pipeline_job import DataValue, PipelineJob
from .summary import SUMMARY
from .usage import Consumption, LiveUsage, all_usages

COMPLETED, FAILED, CANCELLED, NOT_RUN = "Completed", "Failed", "Cancelled", "NotRun"


@dataclass
class StepSummary:
    """How one step ended."""

    name: str
    state: str = NOT_RUN
    """Completed, Failed, Cancelled (another step failed, and the job was not to go on) or NotRun."""
    message: str = ""
    seconds: float = 0.0
    attempts: int = 0
    reused_from: str | None = None
    """The job whose output was taken instead of running the step again."""
    outputs: dict[str, str] = field(default_factory=dict[str, str])
    """Where they lie: absolute local paths, or URLs."""


@dataclass
class PipelineSummary(Consumption):
    """How a pipeline job ended; summary.json."""

    job: str
    endpoint: str | None
    deployment: str
    state: str
    message: str
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    """Literal values, and the places of data."""
    outputs: dict[str, str] = field(default_factory=dict[str, str])
    """Where each output lies that is there."""
    steps: list[StepSummary] = field(default_factory=list[StepSummary])
    """Of a graph, in its order; a flow in Python has its tasks in Prefect's own run graph."""
    runs: int = 1
    seconds: float = 0.0
    """Of the last run."""

    @property
    def completed(self) -> bool:
        return self.state == COMPLETED

    def to_json(self) -> bytes:
        return json.dumps(self.as_dict(), indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> PipelineSummary:
        held: dict[str, Any] = json.loads(data)
        held["steps"] = [StepSummary(**step) for step in held["steps"]]
        return cls(**held)


def summarize(
    job: PipelineJob,
    state: str,
    message: str,
    runs: int,
    seconds: float,
    usage: LiveUsage | None = None,
    steps: Sequence[StepSummary] = (),
) -> PipelineSummary:
    """A summary with what the job's record says; outputs are left to the caller.

    Args:
        job: that has ended.
        state: COMPLETED or FAILED.
        message: how it ended, in one line.
        runs: how often it was started.
        seconds: of the last run.
        usage: of its cluster, where it has one.
        steps: of a graph.
    """
    inputs = {name: value.location.url if isinstance(value, DataValue) else value for name, value in job.inputs.items()}
    summary = PipelineSummary(
        job.id,
        job.endpoint,
        job.deployment_label,
        state,
        message,
        inputs,
        steps=list(steps),
        runs=runs,
        seconds=round(seconds, 3),
        busy_seconds=round(sum(step.seconds for step in steps if step.reused_from is None), 3),
    )
    summary.count(all_usages(job.folder, usage))
    return summary


def shown_outputs(outputs: Mapping[str, str]) -> str:
    """What a message ends with: `; scores in /data/azureml/5f0c.../scores`."""
    return "".join(f"; {name} in {url}" for name, url in outputs.items())


def read_pipeline_summary(job: PipelineJob) -> PipelineSummary | None:
    """How the job ended when it last did, or None."""
    try:
        return PipelineSummary.from_json(job.folder.read(SUMMARY))
    except FileNotFoundError:
        return None
