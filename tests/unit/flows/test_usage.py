"""What jobs had of their clusters: records, sums, money, and what their summaries say of it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_batch.flows import costs
from prefect_batch.flows.summary import SUMMARY, read_consumption, settle
from prefect_batch.flows.usage import Bill, Consumption, Usage, all_usages, begin, money, read_usages
from prefect_batch.scoring.storage import Folder

START = "2026-03-01T10:00:00+00:00"


def used(**more: Any) -> Usage:
    """Two instances of two processes from second 2 to 12, one of them lost for 4 s, let go at 14."""
    values: dict[str, Any] = {
        "compute": "cpu",
        "asked": 2,
        "processes": 2,
        "started_at": START,
        "counts": [(0.0, 0), (2.0, 2), (6.0, 1), (10.0, 2), (12.0, 0)],
        "seconds": 14.0,
        "price_per_instance_hour": 3.6,
        "currency": "EUR",
        "nodes_lost": 1,
    }
    return Usage(**values | more)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "job")).make()


def test_instance_seconds_are_the_area_under_the_counts():
    assert used().instance_seconds == 8 + 4 + 4
    assert used(counts=[(0.0, 3)], seconds=5.0).instance_seconds == 15
    assert used(counts=[], seconds=5.0).instance_seconds == 0


def test_nobody_pays_for_more_instances_than_the_cluster_may_have():
    assert used(max_instances=1).instance_seconds == 4 + 4 + 2
    assert used(max_instances=2).instance_seconds == 16


def test_cost():
    assert used().cost == pytest.approx(0.016)
    assert used(price_per_instance_hour=None).cost is None
    assert used(price_per_instance_hour=0.0).cost == 0


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), max_size=20), st.integers(1, 20))
def test_never_negative_and_never_more_than_the_maximum(counts: list[tuple[float, int]], most: int):
    usage = used(counts=sorted(counts), seconds=100.0, max_instances=most)
    assert 0 <= usage.instance_seconds <= most * 100.0 + 1e-6


def test_each_run_has_its_record(folder: Folder):
    assert read_usages(folder) == []
    first, second = used(), used(started_at="2026-03-02T10:00:00+00:00", counts=[], warm=True)
    assert (begin(folder, first), begin(folder, second)) == (1, 2)
    second.counts, second.seconds = [(0.0, 1)], 3.0
    second.save(folder, 2)
    assert read_usages(folder) == [first, second]


def test_keys_of_another_version_are_left_out(folder: Folder):
    begin(folder, used())
    held = json.loads(folder.read("usage/001.json"))
    folder.put("usage/001.json", json.dumps(held | {"carbon": 1}).encode())
    assert read_usages(folder) == [used()]


def test_the_run_that_goes_on_counts_as_it_is_now(folder: Folder):
    begin(folder, used(started_at="2026-02-01T10:00:00+00:00"))
    begin(folder, used(seconds=0.0, counts=[]))
    runs = all_usages(folder, used)
    assert [usage.seconds for usage in runs] == [14.0, 14.0]
    assert all_usages(folder, None) == []


def test_a_summary_sums_over_all_runs():
    consumption = Consumption(busy_seconds=16.0)
    consumption.count([used(queued_seconds=2.0), used(queued_seconds=1.5, warm=True, counts=[(0.0, 2), (8.0, 0)])])
    assert consumption.instances == [(0.0, 2), (8.0, 0)]
    assert (consumption.instance_seconds, consumption.utilisation) == (32.0, 0.25)
    assert (consumption.cost, consumption.currency) == (0.032, "EUR")
    assert (consumption.queued_seconds, consumption.nodes_lost, consumption.warm) == (3.5, 2, True)


def test_what_a_person_is_told():
    consumption = Consumption(busy_seconds=16.0, warnings=["a", "b"])
    assert Consumption().told() == {}
    consumption.count([used(queued_seconds=12.2)])
    assert consumption.told() == {
        "instances": "2 at most, 16 s of them in all, 50 % busy, 0.02 EUR, 1 lost",
        "waited for room": "12 s",
        "warnings": "a; b",
    }
    consumption = Consumption()
    consumption.count([used(price_per_instance_hour=None, nodes_lost=0, warm=True)])
    assert consumption.told() == {"instances": "2 at most, 16 s of them in all, there already"}


def test_money():
    said = [money(amount, "EUR") for amount in (0.0, 0.000123, 0.016, 1234.5)]
    assert said == ["0.00 EUR", "0.00012 EUR", "0.02 EUR", "1234.50 EUR"]


def test_bills_add_up_by_currency():
    whole = Bill()
    whole.add(Bill.of([used()], 8.0))
    whole.add(Bill.of([used(currency="USD"), used()], 24.0))
    assert whole.money == {"EUR": pytest.approx(0.032), "USD": pytest.approx(0.016)}
    assert (whole.instance_seconds, whole.busy_seconds, whole.utilisation) == (48.0, 32.0, 0.333)


def test_where_nobody_knows_how_busy_a_job_was_it_does_not_count_for_utilisation():
    whole = Bill.of([used()], 16.0)
    whole.add(Bill.of([used()], None))
    assert (whole.instance_seconds, whole.utilisation) == (32.0, 0.5)
    assert Bill.of([used()], None).utilisation is None


def test_a_summary_is_brought_up_to_date_at_the_end(folder: Folder):
    settle(folder)
    assert not folder.exists(SUMMARY)
    before = Consumption(busy_seconds=16.0, warnings=["w"])
    before.count([used(counts=[(0.0, 2)], seconds=4.0)])
    folder.put(SUMMARY, json.dumps({"job": "j", "runs": 1, **before.as_dict()}).encode())
    begin(folder, used())
    settle(folder)
    held = json.loads(folder.read(SUMMARY))
    assert (held["job"], held["instance_seconds"], held["instances"][-1]) == ("j", 16.0, [12.0, 0])
    assert (held["busy_seconds"], held["utilisation"], held["warnings"]) == (16.0, 0.5, ["w"])


def test_only_a_summary_of_all_runs_tells_how_busy_a_job_was(folder: Folder):
    folder.put(SUMMARY, json.dumps({"runs": 1, "busy_seconds": 3.0}).encode())
    held = read_consumption(folder, runs=1)
    assert held is not None
    assert held.busy_seconds == 3.0
    assert read_consumption(folder, runs=2) is None


def test_the_last_days_end_with_today():
    assert costs.since_days(1, date(2026, 3, 1)) == date(2026, 3, 1)
    assert costs.since_days(7, date(2026, 3, 1)) == date(2026, 2, 23)
    assert costs.since_days(None, date(2026, 3, 1)) == date(2026, 1, 31)
