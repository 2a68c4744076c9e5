"""What the runs of a job had of a compute cluster: <job>/usage/NNN.json, one for each time that it got instances.

Written while the job runs and at its end, so that also a run that was killed has left what it cost.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..scoring.storage import Folder

FOLDER = "usage"
_HOUR = 3600.0


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

    @property
    def instance_seconds(self) -> float:
        """Seconds of all instances together; never of more at a time than the cluster may have."""
        ends = [at for at, _ in self.counts[1:]] + [self.seconds]
        most = self.max_instances if self.max_instances is not None else float("inf")
        return sum(max(0.0, end - at) * min(count, most) for (at, count), end in zip(self.counts, ends, strict=True))

    @property
    def cost(self) -> float | None:
        """Money, in `currency`; None for a cluster without a price."""
        if self.price_per_instance_hour is None:
            return None
        return self.instance_seconds / _HOUR * self.price_per_instance_hour

    def save(self, folder: Folder, number: int) -> None:
        """Write it anew.

        Args:
            folder: of the job.
            number: that begin() gave.
        """
        folder.put(_name(number), self._json())

    def _json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Usage:
        """What save() wrote; also another version of it, whose further keys are left out."""
        known = {each.name for each in fields(cls)}
        held: dict[str, Any] = {key: value for key, value in json.loads(data).items() if key in known}
        held["counts"] = [(float(at), int(count)) for at, count in held.get("counts", [])]
        return cls(**held)


def begin(folder: Folder, usage: Usage) -> int:
    """Write the first record of a run of the job in `folder`; returns its number, for save()."""
    for number in itertools.count(1):
        try:
            folder.create(_name(number), usage._json())  # pyright: ignore[reportPrivateUsage]
        except FileExistsError:
            continue
        return number
    raise AssertionError("unreachable")


def read_usages(folder: Folder) -> list[Usage]:
    """The records of all runs of the job in `folder`, in their order; [] for a job that never got instances."""
    held = folder / FOLDER
    return [Usage.from_json(held.read(name)) for name in held.names() if name.endswith(".json")]


def _name(number: int) -> str:
    return f"{FOLDER}/{number:03d}.json"


LiveUsage = Callable[[], Usage]
"""Gives the record of the run that is going on, as it is now."""


@dataclass(kw_only=True)
class Consumption:
    """What a job has had of its cluster: the part that the summaries of all jobs share.

    Sums are over all runs of the job, those too that were killed.
    """

    instances: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    """The number of instances from each of these seconds of the last run on."""
    instance_seconds: float = 0.0
    busy_seconds: float = 0.0
    """Seconds of scoring processes in which they scored what was committed; of steps, those that completed."""
    utilisation: float | None = None
    """Busy seconds of those that the instances' processes had, from 0 to 1; None where there were no instances."""
    cost: float | None = None
    """Money, where the cluster has a price."""
    currency: str | None = None
    queued_seconds: float = 0.0
    nodes_lost: int = 0
    warm: bool = False
    """Whether the last run found its cluster there already."""
    warnings: list[str] = field(default_factory=list[str])
    """What did not suit the model, and the like; of the last run."""

    def __post_init__(self) -> None:
        self.instances = [(float(at), int(count)) for at, count in self.instances]

    def count(self, usages: Sequence[Usage]) -> None:
        """Set what follows from the records of the job's runs and from `busy_seconds`."""
        if not usages:
            return
        last = usages[-1]
        self.instances, self.warm = last.counts, last.warm
        self.instance_seconds = round(sum(usage.instance_seconds for usage in usages), 3)
        self.queued_seconds = round(sum(usage.queued_seconds for usage in usages), 3)
        self.nodes_lost = sum(usage.nodes_lost for usage in usages)
        room = sum(usage.instance_seconds * usage.processes for usage in usages)
        self.utilisation = utilisation(self.busy_seconds, room)
        self.currency = next((usage.currency for usage in reversed(usages) if usage.cost is not None), None)
        costs = [usage.cost for usage in usages if usage.cost is not None and usage.currency == self.currency]
        self.cost = round(sum(costs), 6) if costs else None

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: what the job did comes before what it had of its cluster."""
        shared = {each.name for each in fields(Consumption)}
        return dict(sorted(asdict(self).items(), key=lambda item: item[0] in shared))


def utilisation(busy_seconds: float, process_seconds: float) -> float | None:
    """Busy seconds as a fraction of the seconds that there were processes; None where nobody knows of either."""
    if busy_seconds <= 0 or process_seconds <= 0:
        return None
    return round(min(1.0, busy_seconds / process_seconds), 3)


def all_usages(folder: Folder, live: LiveUsage | None) -> list[Usage]:
    """The records of all runs of the job in `folder`; that of the one that is going on as it is now."""
    if live is None:
        return []  # a trial run, or a step, which has its cluster of the job that it is a step of
    now = live()
    return [usage for usage in read_usages(folder) if usage.started_at != now.started_at] + [now]
