"""The rules of a compute cluster's ledger: never too much, nobody passed, nobody lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from prefect.exceptions import PrefectHTTPStatusError

from prefect_batch.blocks.ledger import patiently
from prefect_batch.blocks.places import LEASE, KeptCluster, Ledger

START = datetime(2026, 1, 1, tzinfo=UTC)
CAPACITY = 4


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def entered(ledger: Ledger, job: str, instances: int = 1, label: str = "a", seconds: float = 0) -> Ledger:
    return ledger.enter(job, instances, label, CAPACITY, at(seconds))


def kept(name: str, instances: int, label: str = "a", seconds: float = 0, **more: Any) -> KeptCluster:
    return KeptCluster(
        id=name, address=f"tcp://{name}", instances=instances, node_label=label, until=at(seconds) + LEASE, **more
    )


def held(ledger: Ledger) -> list[str]:
    return [holder.job for holder in ledger.holders]


def line(ledger: Ledger) -> list[str]:
    return [waiter.job for waiter in ledger.line]


def test_who_comes_first_holds_and_others_wait_in_order():
    ledger = entered(Ledger(), "one", 3)
    for job, instances in [("two", 2), ("three", 1)]:
        ledger = entered(ledger, job, instances)
    assert (held(ledger), line(ledger)) == (["one"], ["two", "three"]), "three fits, but two came before it"
    assert [ledger.position(job) for job in ("one", "two", "three")] == [None, 1, 2]
    assert entered(ledger, "two", 2, seconds=0) == ledger, "who comes again keeps its turn"


def test_who_is_granted_a_place_claims_it():
    ledger = entered(entered(entered(Ledger(), "one", 4), "two", 2), "three", 2)
    ledger, granted = ledger.leave("one").promoted(CAPACITY, at(1))
    assert [waiter.job for waiter in granted] == held(ledger) == ["two", "three"]
    assert ledger.claimed == []
    ledger = entered(ledger, "three", 2, seconds=2)
    assert ledger.claimed == ["three"]
    assert ledger.holder("three").since == START


def test_a_grant_that_is_not_claimed_lapses_and_keeps_its_turn():
    ledger, _ = entered(entered(Ledger(), "one", 4), "two", 4).leave("one").promoted(CAPACITY, at(1))
    ledger = entered(ledger, "three", 4, seconds=2)
    late = 2 + LEASE.total_seconds()
    ledger, granted = ledger.without_expired(at(late)).promoted(CAPACITY, at(late))
    assert ([waiter.job for waiter in granted], line(ledger)) == (["three"], ["two"]), "two stops nobody"
    ledger = entered(ledger, "two", 4, seconds=late + 1)
    ledger = entered(ledger, "four", 4, seconds=late + 2)
    assert line(ledger) == ["two", "four"]
    assert not any(waiter.absent for waiter in ledger.line)


def test_holders_that_are_not_heard_of_lose_their_place():
    ledger = entered(entered(Ledger(), "dead", 2), "alive", 2).renew("alive", at(30))
    assert held(ledger.without_expired(at(59))) == ["dead", "alive"]
    assert held(ledger.without_expired(at(61))) == ["alive"]


def test_a_server_that_was_away_costs_nobody_a_place():
    ledger = entered(Ledger(), "one", 2).with_kept(kept("k", 1)).model_copy(update={"at": at(0)})
    back = ledger.without_expired(at(600))
    assert (held(back), [one.id for one in back.kept]) == (["one"], ["k"])
    heard = back.renew("one", at(620)).model_copy(update={"at": at(620)})
    assert (held(heard.without_expired(at(631))), heard.without_expired(at(631)).kept) == (["one"], [])
    silent = back.model_copy(update={"at": at(600)}).without_expired(at(631))
    assert (held(silent), silent.kept) == ([], []), "who is gone would stay for ever"


def test_a_place_that_is_taken_again_may_overfill():
    ledger = entered(Ledger(), "one", 4).with_kept(kept("k", 4, job="one"))
    mine = ledger.holder("one")
    other = entered(ledger.leave("one").without_kept("k"), "two", 4)
    again = other.retaken(mine)
    assert (held(again), again.provisioned) == (["two", "one"], 8)
    assert ledger.leave("one").retaken(mine).kept[0].job == "one"
    assert held(entered(entered(Ledger(), "zero", 4), "one").retaken(mine)) == ["zero", "one"]


def test_a_kept_cluster_serves_the_next_job_of_its_kind_of_nodes():
    ledger = entered(Ledger(), "one", 2).with_kept(kept("k", 2, job="one"))
    assert ledger.holder("one").cluster == "k"
    assert ledger.provisioned == 2
    ledger = ledger.leave("one")
    assert (ledger.provisioned, ledger.kept[0].job) == (2, None)
    ledger = entered(ledger, "two", 3)
    assert (ledger.holder("two").cluster, ledger.kept[0].job, ledger.provisioned) == ("k", "two", 3)


def test_a_larger_kept_cluster_counts_until_it_was_scaled_down():
    ledger = entered(Ledger().with_kept(kept("k", 4)), "one", 1)
    assert (ledger.holder("one").cluster, ledger.provisioned) == ("k", 4)
    ledger = entered(ledger, "two", 2)
    assert line(ledger) == ["two"]
    ledger, granted = ledger.with_kept_seen("k", 1, at(1)).promoted(CAPACITY, at(1))
    assert [waiter.job for waiter in granted] == ["two"]


def test_idle_clusters_in_the_way_are_to_leave():
    ledger = Ledger().with_kept(kept("k", 2, "b")).with_kept(kept("m", 2, "c"))
    ledger = entered(ledger, "one", 2, "a")
    assert (line(ledger), [one.id for one in ledger.kept if one.leaving]) == (["one"], ["k"])
    assert line(entered(ledger, "one", 2, "a")) == ["one"]
    ledger, _ = ledger.without_kept("k").promoted(CAPACITY, at(1))
    assert (held(ledger), ledger.kept[0].leaving) == (["one"], False)


def test_idle_clusters_stay_where_their_leaving_would_not_be_enough():
    ledger = entered(Ledger(), "one", 3).with_kept(kept("k", 1, "b"))
    ledger = entered(ledger, "two", 2, "a")
    assert (line(ledger), ledger.kept[0].leaving) == (["two"], False)


def test_one_that_is_to_leave_is_given_to_nobody():
    ledger = entered(Ledger().with_kept(kept("k", 2)).with_leaving(["k"]), "one", 2)
    assert (ledger.holder("one").cluster, ledger.provisioned) == (None, 4)


def test_a_cluster_that_became_too_small_stops_only_who_is_too_large():
    ledger = entered(entered(entered(Ledger(), "one", 1), "large", 4), "small", 1)
    ledger, granted = ledger.with_absent_above(2).promoted(2, at(1))
    assert ([waiter.job for waiter in granted], line(ledger)) == (["small"], ["large"])


class Cluster(RuleBasedStateMachine):
    """Jobs come, run, end, are killed and cancelled, and clusters are kept, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.now = Ledger(), START
        self.number = 0
        self.over: set[str] = set()
        self.dead: set[str] = set()

    def changed(self, ledger: Ledger) -> None:
        before = self.ledger
        after, granted = ledger.promoted(CAPACITY, self.now)
        for waiter in granted:
            passed = [other for other in after.line if other.since < waiter.since]
            assert all(other.absent for other in passed), "somebody was passed who waits"
        for job in set(before.jobs) - set(after.jobs):
            assert job in self.over | self.dead, "a job was lost"
        self.ledger = after.model_copy(update={"at": self.now})

    def pick(self, data: st.DataObject, found: list[str]) -> str:
        return data.draw(st.sampled_from(found))

    @rule(instances=st.integers(1, CAPACITY), label=st.sampled_from("ab"))
    def come(self, instances: int, label: str) -> None:
        self.number += 1
        self.now += timedelta(seconds=1)
        self.changed(self.ledger.enter(str(self.number), instances, label, CAPACITY, self.now))

    @precondition(lambda self: self.ledger.jobs)
    @rule(data=st.data())
    def come_again(self, data: st.DataObject) -> None:
        job = self.pick(data, self.ledger.jobs)
        entry = self.ledger.holder(job) or self.ledger.waiter(job)
        self.dead.discard(job)
        self.changed(self.ledger.enter(job, entry.instances, entry.node_label, CAPACITY, self.now))

    @precondition(lambda self: self.ledger.jobs)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        job = self.pick(data, self.ledger.jobs)
        self.over.add(job)
        self.changed(self.ledger.leave(job))

    @precondition(lambda self: self.ledger.claimed)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.dead.add(self.pick(data, self.ledger.claimed))

    @precondition(lambda self: self.ledger.claimed)
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        holder = self.ledger.holder(self.pick(data, self.ledger.claimed))
        if self.ledger.kept_cluster(holder.cluster) is None:
            entry = kept(f"k{holder.job}", holder.instances, holder.node_label, job=holder.job)
            self.changed(self.ledger.with_kept(entry.model_copy(update={"until": self.now + LEASE})))

    @rule()
    def hosts(self) -> None:
        """The hosts of kept clusters do what they are to do."""
        ledger = self.ledger
        for one in self.ledger.kept:
            holder = ledger.holder(one.job) if one.job else None
            if one.leaving and one.job is None:
                ledger = ledger.without_kept(one.id)
            else:
                ledger = ledger.with_kept_seen(one.id, holder.instances if holder else one.instances, self.now)
        self.changed(ledger)

    @rule(seconds=st.integers(1, 25))
    def time_goes_by(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        ledger = self.ledger
        for job in ledger.claimed:
            if job not in self.dead:
                ledger = ledger.renew(job, self.now)
        self.changed(ledger.without_expired(self.now))

    @invariant()
    def never_too_much(self) -> None:
        assert self.ledger.provisioned <= CAPACITY

    @invariant()
    def every_job_is_there_once(self) -> None:
        assert len(set(self.ledger.jobs)) == len(self.ledger.jobs)

    @invariant()
    def in_order_of_coming(self) -> None:
        assert line(self.ledger) == sorted(line(self.ledger), key=int)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """There is no room for the first who waits, or will be once clusters have left that were told to."""
        first = next((waiter for waiter in self.ledger.line if not waiter.absent), None)
        if first is not None:
            assert self.ledger.provisioned + first.instances > CAPACITY
            assert self.ledger.holders or any(one.leaving for one in self.ledger.kept), "nothing would ever change"


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def answered(status: int) -> PrefectHTTPStatusError:
    request = httpx.Request("DELETE", "http://server/api/block_documents/1")
    return PrefectHTTPStatusError("answered", request=request, response=httpx.Response(status, request=request))


def test_a_server_that_is_busy_or_away_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    outcomes: list[Any] = [answered(503), httpx.ConnectError("refused"), "done"]

    def call() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    said: list[str] = []
    assert patiently(call, said.append) == "done"
    assert said == ["answered", "refused"]
    outcomes[:] = [answered(409)]
    with pytest.raises(PrefectHTTPStatusError):
        patiently(call, said.append)
