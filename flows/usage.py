"""What the runs of a job had of a compute cluster: <job>/usage/NNN.json, one for each time that it got instances.

Written while the job runs and at its end, so that also a run that was killed has left what it cost.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..scoring.storage import Folder

FOLDER = "usage"
HOUR = 3600.0
"""Seconds."""


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
        counts = list(self.counts)  # of the run that is going on, another thread adds to them
        ends = [at for at, _ in counts] + [self.seconds]
        most = self.max_instances if self.max_instances is not None else float("inf")
        return sum(max(0.0, end - at) * min(count, most) for (at, count), end in zip(counts, ends[1:], strict=True))

    @property
    def cost(self) -> float | None:
        """Money, in `currency`; None for a cluster without a price."""
        if self.price_per_instance_hour is None:
            return None
        return self.instance_seconds / HOUR * self.price_per_instance_hour

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


@dataclass
class Bill:
    """What runs of jobs come to together."""

    instance_seconds: float = 0.0
    process_seconds: float = 0.0
    """What those instances' scoring processes, or steps at a time, could have been busy."""
    busy_seconds: float = 0.0
    queued_seconds: float = 0.0
    nodes_lost: int = 0
    money: dict[str, float] = field(default_factory=dict[str, float])
    """By currency, in the order of their first use."""

    @classmethod
    def of(cls, usages: Sequence[Usage], busy_seconds: float | None) -> Bill:
        """Of the runs of one job, which was busy for so long; None where nobody knows for how long."""
        bill = cls(busy_seconds=busy_seconds or 0.0)
        for usage in usages:
            bill.instance_seconds += usage.instance_seconds
            bill.process_seconds += usage.instance_seconds * usage.processes if busy_seconds is not None else 0.0
            bill.queued_seconds += usage.queued_seconds
            bill.nodes_lost += usage.nodes_lost
            if (cost := usage.cost) is not None:
                bill._pay(usage.currency or "", cost)
        return bill

    def add(self, other: Bill) -> None:
        """Count another one in."""
        self.instance_seconds += other.instance_seconds
        self.process_seconds += other.process_seconds
        self.busy_seconds += other.busy_seconds
        self.queued_seconds += other.queued_seconds
        self.nodes_lost += other.nodes_lost
        for currency, amount in other.money.items():
            self._pay(currency, amount)

    def _pay(self, currency: str, amount: float) -> None:
        self.money[currency] = self.money.get(currency, 0.0) + amount

    @property
    def utilisation(self) -> float | None:
        """Busy seconds of those that there were processes for, from 0 to 1; None where nobody knows."""
        return round(min(1.0, self.busy_seconds / self.process_seconds), 3) if self.process_seconds > 0 else None


def percent(fraction: float) -> str:
    """`61 %`."""
    return f"{100 * fraction:.0f} %"


def money(amount: float, currency: str | None) -> str:
    """`12.34 USD`; of what is less than a cent, two digits."""
    return f"{amount:.2f} {currency}" if amount >= 0.01 or amount == 0 else f"{amount:.2g} {currency}"


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
        bill = Bill.of(usages, self.busy_seconds or None)
        self.instances, self.warm = usages[-1].counts, usages[-1].warm
        self.instance_seconds = round(bill.instance_seconds, 3)
        self.queued_seconds = round(bill.queued_seconds, 3)
        self.nodes_lost, self.utilisation = bill.nodes_lost, bill.utilisation
        if bill.money:
            self.currency, cost = list(bill.money.items())[-1]  # of the last run, had anybody changed it
            self.cost = round(cost, 6)

    def told(self) -> dict[str, str]:
        """What a person is told of it, by what it is about; {} where there were no instances."""
        told: dict[str, str] = {}
        if self.instances:
            most = max(count for _, count in self.instances)
            words = [f"{most} at most, {self.instance_seconds:.0f} s of them in all"]
            words += [percent(self.utilisation) + " busy"] if self.utilisation is not None else []
            words += [money(self.cost, self.currency)] if self.cost is not None else []
            words += [f"{self.nodes_lost} lost"] if self.nodes_lost else []
            words += ["there already"] if self.warm else []
            told["instances"] = ", ".join(words)
        if self.queued_seconds >= 1:
            told["waited for room"] = f"{self.queued_seconds:.0f} s"
        if self.warnings:
            told["warnings"] = "; ".join(self.warnings)
        return told

    @classmethod
    def within(cls, summary: Mapping[str, Any]) -> Consumption:
        """The part of a summary as JSON has it."""
        return cls(**{each.name: summary[each.name] for each in fields(cls) if each.name in summary})

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: what the job did comes before what it had of its cluster."""
        shared = {each.name for each in fields(Consumption)}
        return dict(sorted(asdict(self).items(), key=lambda item: item[0] in shared))


def all_usages(folder: Folder, live: LiveUsage | None) -> list[Usage]:
    """The records of all runs of the job in `folder`; that of the one that is going on as it is now."""
    if live is None:
        return []  # a trial run, or a step, which has its cluster of the job that it is a step of
    now = live()
    return [usage for usage in read_usages(folder) if usage.started_at != now.started_at] + [now]
