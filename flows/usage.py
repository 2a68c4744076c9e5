"""What a run of a job had of a compute cluster: <job>/usage/NNN.json, one for each time the job was started.

Written while the job runs and at its end, so that also a run that was killed has left what it cost.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Usage:
    """The instances of one run of a job, over time."""

    compute: str
    asked: int
    """Instances that the job takes."""
    processes: int
    """Scoring processes, or steps, at a time on each instance."""
    started_at: str
    """UTC, ISO 8601: when the instances were asked for. Times below are seconds since then."""
    counts: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    """The number of instances from each of these times on; the last is 0 once they were given back."""
    seconds: float = 0.0
    """Until the end, or until this was last written."""
    queued_seconds: float = 0.0
    """How long the job waited for room on the cluster, before."""
    warm: bool = False
    """Whether the cluster was there already."""
    nodes_lost: int = 0
    price_per_instance_hour: float | None = None
    currency: str | None = None
    max_instances: int | None = None
