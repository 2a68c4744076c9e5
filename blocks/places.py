"""Who holds a compute cluster, who waits for it, and by which rules: pure functions from one state to the next."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import BaseModel, Field

E = TypeVar("E", "Holder", "KeptCluster")
LEASE = timedelta(seconds=60)
"""How long a holder or a kept cluster counts that is not heard of."""
_SILENCE = LEASE / 2
"""When nobody has written for so long, it was rather the server that was away."""


class Waiter(BaseModel):
    """A job in the line."""

    job: str
    instances: int
    node_label: str
    since: datetime
    until: datetime
    """When a job that waits in its own process, not at Prefect, counts as gone unless it is heard of."""
    absent: bool = False
    """It was called and did not come: it keeps its turn, and stops nobody until it is there."""


class Holder(BaseModel):
    """A job that has a place on the cluster."""

    job: str
    instances: int
    node_label: str
    since: datetime
    """When it came into the line."""
    heard: datetime | None = None
    """When a process last waited for it."""
    until: datetime
    claimed: bool = True
    """False while its flow run is still to come for it."""
    cluster: str | None = None
    """The kept cluster that it was given."""
    spared: bool = False
    """Its time was made longer, as the server had been away."""


class KeptCluster(BaseModel):
    """A Dask cluster that outlives its job, with a process of its own that looks after it."""

    id: str
    address: str
    instances: int
    node_label: str
    until: datetime
    job: str | None = None
    """The job that has it; None while it is idle."""
    leaving: bool = False
    """It is to make room: nobody is given it any more."""
    spared: bool = False
    """As of a holder."""


class Ledger(BaseModel):
    """Who holds a cluster, who waits for it, in order, and which Dask clusters are kept. Methods give a new one."""

    holders: list[Holder] = Field(default_factory=list[Holder])
    line: list[Waiter] = Field(default_factory=list[Waiter])
    kept: list[KeptCluster] = Field(default_factory=list[KeptCluster])
    at: datetime | None = None
    """When it was last changed, by the server's clock."""

    @property
    def provisioned(self) -> int:
        """Instances that jobs hold or that are kept idle."""
        return sum(self._held(holder) for holder in self.holders) + sum(
            kept.instances for kept in self.kept if kept.job is None
        )

    def _held(self, holder: Holder) -> int:
        # A larger kept cluster counts in full until its host has scaled it down.
        return max([holder.instances, *(kept.instances for kept in self.kept if kept.job == holder.job)])

    def holder(self, job: str) -> Holder | None:
        """The job's place."""
        return next((holder for holder in self.holders if holder.job == job), None)

    def waiter(self, job: str) -> Waiter | None:
        """The job's entry in the line."""
        return next((waiter for waiter in self.line if waiter.job == job), None)

    def kept_cluster(self, cluster: str | None) -> KeptCluster | None:
        """The kept cluster of that id."""
        return next((kept for kept in self.kept if kept.id == cluster), None)

    def position(self, job: str) -> int | None:
        """1 for the first in the line of those who are there; None for a job that is not in it."""
        before = 0
        for waiter in self.line:
            if waiter.job == job:
                return before + 1
            before += not waiter.absent
        return None

    @property
    def claimed(self) -> list[str]:
        """The jobs that run on their places, oldest first: who looks after the line."""
        return [holder.job for holder in self.holders if holder.claimed]

    def rank(self, job: str | None) -> int:
        """How many look after the line before this job does; all of them for one that has no place."""
        return self.claimed.index(job) if job in self.claimed else len(self.claimed)

    @property
    def jobs(self) -> list[str]:
        """All jobs that hold or wait."""
        return [entry.job for entry in (*self.holders, *self.line)]

    def enter(
        self, job: str, instances: int, node_label: str, capacity: int, now: datetime, lease: timedelta = LEASE
    ) -> Ledger:
        """The job has come: it holds its place now if nobody is before it and there is room, else it is in the line.

        A job that came before keeps its turn; one that was granted its place claims it.
        """
        if self.holder(job) is None:
            held = self.waiter(job)
            waiter = Waiter(
                job=job,
                instances=instances,
                node_label=node_label,
                since=held.since if held else now,
                until=now + lease,
            )
            line = [waiter if other is held else other for other in self.line] if held else [*self.line, waiter]
            entered, _ = self._with(line=line).promoted(capacity, now, lease)
        else:
            entered = self
        return entered.renew(job, now, lease)

    def renew(self, job: str, now: datetime, lease: timedelta = LEASE) -> Ledger:
        """The job lives: its place is its own, or its wait goes on. Nothing for a job that is not there."""
        later = {"until": now + lease}
        claimed = later | {"claimed": True, "spared": False}
        return self._with(
            holders=[entry.model_copy(update=claimed) if entry.job == job else entry for entry in self.holders],
            line=[entry.model_copy(update=later) if entry.job == job else entry for entry in self.line],
        )

    def retaken(self, holder: Holder) -> Ledger:
        """With the place of a job that lives and was taken for gone; the cluster may be overfull meanwhile."""
        without = self.leave(holder.job)
        again = {"job": holder.job}
        return without._with(
            kept=[
                kept.model_copy(update=again) if kept.id == holder.cluster and kept.job is None else kept
                for kept in without.kept
            ]
        )._with_holder(holder)

    def leave(self, job: str) -> Ledger:
        """The job has gone; a kept cluster that it had is idle, unless it is to make room."""
        return self.without([job])

    def without(self, jobs: Collection[str]) -> Ledger:
        """All of these jobs have gone."""
        sizes = {holder.job: holder.instances for holder in self.holders}
        return self._with(
            holders=[holder for holder in self.holders if holder.job not in jobs],
            line=[waiter for waiter in self.line if waiter.job not in jobs],
            kept=[
                kept.model_copy(update={"job": None, "instances": max(kept.instances, sizes.get(kept.job, 0))})
                if kept.job is not None and kept.job in jobs
                else kept
                for kept in self.kept
            ],
        )

    def without_expired(self, now: datetime, lease: timedelta = LEASE) -> Ledger:
        """Holders and kept clusters that were not heard of have gone; who did not claim a place is back in the line.

        When nobody at all was heard of for half a lease, the server was away rather: all get that long again, once.
        """
        if self.at is not None and now - self.at > _SILENCE:
            spared = self._with(
                holders=[_spared(holder, now) if holder.claimed else holder for holder in self.holders],
                kept=[_spared(kept, now) for kept in self.kept],
                at=None,
            )
            return spared.without_expired(now, lease)
        gone = [holder for holder in self.holders if holder.until < now]
        back = [
            Waiter(
                job=holder.job,
                instances=holder.instances,
                node_label=holder.node_label,
                since=holder.since,
                until=now + lease,
                absent=True,
            )
            for holder in gone
            if not holder.claimed
        ]
        left = self.without([holder.job for holder in gone])
        return left._with(
            kept=[kept for kept in left.kept if kept.until >= now],
            line=sorted([*back, *left.line], key=lambda waiter: waiter.since) if back else left.line,
        )

    def promoted(self, capacity: int, now: datetime, lease: timedelta = LEASE) -> tuple[Ledger, list[Waiter]]:
        """Those at the head of the line for whom there is room hold their places, unclaimed; and who they are.

        Nobody passes who came before, but one who was called and did not come. Idle clusters that stand in the way of
        the first who has to wait are to leave.
        """
        ledger, granted = self, list[Waiter]()
        for waiter in self.line:
            if waiter.absent:
                continue
            kept = ledger._suitable(waiter)
            needed = max(waiter.instances, kept.instances) if kept else waiter.instances
            free = capacity - ledger.provisioned + (kept.instances if kept else 0)
            if needed > free:
                return ledger._made_room(needed - free, kept), granted
            ledger = ledger._with(
                line=[other for other in ledger.line if other.job != waiter.job],
                kept=[
                    other.model_copy(update={"job": waiter.job}) if other is kept else other for other in ledger.kept
                ],
            )._with_holder(
                Holder(
                    **waiter.model_dump(include={"job", "instances", "node_label", "since"}),
                    heard=waiter.until - lease,
                    until=now + lease,
                    claimed=False,
                    cluster=kept.id if kept else None,
                )
            )
            granted.append(waiter)
        return ledger, granted

    def with_absent_above(self, capacity: int) -> Ledger:
        """Jobs that the cluster has become too small for are called, to be told so, and stop nobody."""
        return self._with(
            line=[
                waiter.model_copy(update={"absent": True}) if waiter.instances > capacity else waiter
                for waiter in self.line
            ]
        )

    def _suitable(self, waiter: Waiter) -> KeptCluster | None:
        """The idle cluster with the job's kind of nodes that is nearest to its size."""
        idle = [kept for kept in self.kept if _is_idle(kept) and kept.node_label == waiter.node_label]
        return min(idle, key=lambda kept: abs(kept.instances - waiter.instances), default=None)

    def _made_room(self, wanted: int, spared: KeptCluster | None) -> Ledger:
        """With as many idle clusters told to leave as are in the way; none if that would not be enough."""
        wanted -= sum(kept.instances for kept in self.kept if kept.leaving and kept.job is None)
        leaving: set[str] = set()
        for kept in self.kept:
            if wanted > 0 and _is_idle(kept) and kept is not spared:
                leaving.add(kept.id)
                wanted -= kept.instances
        return self.with_leaving(leaving) if wanted <= 0 else self

    def with_leaving(self, clusters: Collection[str]) -> Ledger:
        """These kept clusters are to go: at once where idle, else when their job has ended."""
        return self._with(
            kept=[kept.model_copy(update={"leaving": True}) if kept.id in clusters else kept for kept in self.kept]
        )

    def with_kept(self, cluster: KeptCluster) -> Ledger:
        """With this kept cluster, in place of one with its id; its job, if it has one, holds it."""
        others = [kept for kept in self.kept if kept.id != cluster.id]
        return self._with(
            kept=[*others, cluster],
            holders=[
                holder.model_copy(update={"cluster": cluster.id}) if holder.job == cluster.job else holder
                for holder in self.holders
            ],
        )

    def with_kept_seen(self, cluster: str, instances: int, now: datetime, lease: timedelta = LEASE) -> Ledger:
        """The kept cluster lives, with so many instances. Nothing if it is not there."""
        seen = {"until": now + lease, "instances": instances, "spared": False}
        return self._with(kept=[kept.model_copy(update=seen) if kept.id == cluster else kept for kept in self.kept])

    def without_kept(self, cluster: str) -> Ledger:
        """The kept cluster has gone; the job that had it keeps its place."""
        gone = {"cluster": None}
        return self._with(
            kept=[kept for kept in self.kept if kept.id != cluster],
            holders=[
                holder.model_copy(update=gone) if holder.cluster == cluster else holder for holder in self.holders
            ],
        )

    def _with_holder(self, holder: Holder) -> Ledger:
        return self._with(holders=[*self.holders, holder])

    def _with(self, **changed: object) -> Ledger:
        return self.model_copy(update=changed)


def _is_idle(kept: KeptCluster) -> bool:
    return kept.job is None and not kept.leaving


def _spared(entry: E, now: datetime) -> E:
    if entry.spared:
        return entry
    return entry.model_copy(update={"until": max(entry.until, now + _SILENCE), "spared": True})
