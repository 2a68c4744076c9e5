"""What jobs have cost: `prefect-batch job cost`, and the same from Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from endpoints import Ended, Endpoints
from prefect.client.orchestration import get_client

from prefect_batch.blocks.compute import parse_compute, save_compute
from prefect_batch.flows.summary import SUMMARY
from prefect_batch.flows.usage import Usage, read_usages
from prefect_batch.interfaces.client import BatchClient
from prefect_batch.scoring.storage import Folder

Cli = Callable[..., subprocess.CompletedProcess[str]]
FILES = 4


@pytest.fixture(scope="module")
def priced(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A job that has completed on instances that have a price."""
    folder = tmp_path_factory.mktemp("priced")
    (folder / "code").mkdir()
    (folder / "code" / "score.py").write_text(
        "def init():\n    pass\n\n\ndef run(mini_batch):\n    return mini_batch\n"
    )
    (folder / "deployment.yml").write_text(
        "name: echo\ntype: model\nendpoint_name: priced\ncompute: priced\n"
        "code_configuration: {code: code, scoring_script: score.py}\nsettings: {mini_batch_size: 1}\n"
    )
    (folder / "data").mkdir()
    for number in range(FILES):
        (folder / "data" / f"{number}.txt").touch()
    keys = {"name": "priced", "type": "local", "price_per_instance_hour": 3600, "currency": "EUR"}
    with get_client(sync_client=True) as client:
        save_compute(client, parse_compute(keys | {"idle_time_before_scale_down": 0}, "priced"))
    endpoints.deploy(folder / "deployment.yml", "priced")
    ended = endpoints.wait(endpoints.invoke("priced", folder / "data"))
    assert ended.state == "Completed", ended.message
    return ended


@pytest.fixture
def job(priced: Ended, tmp_path: Path) -> Iterator[Ended]:
    """The same; what a test changes of its files is put back."""
    shutil.copytree(priced.folder, tmp_path / "kept")
    yield priced
    shutil.rmtree(priced.folder)
    shutil.copytree(tmp_path / "kept", priced.folder)


def usage(job: Ended, **keys: Any) -> Usage:
    """Two instances for a minute, a second of which costs 1 EUR."""
    values: dict[str, Any] = {"counts": [(0.0, 2), (60.0, 0)], "seconds": 61.0, "asked": 2, "processes": 1}
    values |= {"compute": "priced", "price_per_instance_hour": 3600.0, "currency": "EUR"}
    return Usage(**values | {"started_at": datetime.now(UTC).isoformat()} | keys)


def test_a_job_and_its_summary(job: Ended, cli_here: Cli):
    (used,) = read_usages(Folder(str(job.folder)))
    assert used.counts[-1][1] == 0
    summary = job.summary
    assert summary["instances"] == [list(pair) for pair in used.counts]
    assert summary["cost"] == pytest.approx(used.instance_seconds, abs=1e-3) and summary["cost"] > 0
    assert (summary["currency"], summary["nodes_lost"], summary["warm"]) == ("EUR", 0, False)
    assert 0 < summary["busy_seconds"] < summary["instance_seconds"]
    shown = cli_here("job", "show", job.id).stdout
    assert f"1 at most, {summary['instance_seconds']:.0f} s of them in all" in shown and " EUR" in shown
    heading, row = cli_here("job", "cost", job.id).stdout.splitlines()
    assert heading.split("\t")[:3] == ["ENDPOINT", "DAY", "JOBS"]
    assert row.split("\t")[0] == "priced"
    assert row.endswith(f"\t{summary['cost']:.2f} EUR")


def test_by_endpoint_and_day_with_what_killed_jobs_have_left(job: Ended, cli_here: Cli):
    folder, today = Folder(str(job.folder)), datetime.now(UTC).date()
    usage(job).save(folder, 1)
    (job.folder / SUMMARY).unlink()  # as if it had been killed
    command = ["job", "cost", "--endpoint", "priced", "--days", "1", "-o", "json"]
    (row,) = json.loads(cli_here(*command).stdout)
    assert (row["endpoint_name"], row["day"], row["jobs"]) == ("priced", today.isoformat(), 1)
    assert (row["instance_seconds"], row["cost"]) == (120.0, {"EUR": 120.0})
    busy = row["busy_seconds"]
    assert 0 < busy == pytest.approx(120 * row["utilisation"], abs=0.1)
    usage(job, currency="USD").save(folder, 2)  # resumed, and the compute was changed
    (row,) = json.loads(cli_here(*command).stdout)
    assert (row["jobs"], row["cost"], row["busy_seconds"]) == (1, {"EUR": 120.0, "USD": 120.0}, busy)
    lines = cli_here(*command[:-2]).stdout.splitlines()
    assert [line.split("\t")[-1] for line in lines] == ["COST", "120.00 EUR, 120.00 USD"]


def test_days(job: Ended):
    folder, today = Folder(str(job.folder)), datetime.now(UTC).date()
    client = BatchClient()

    def days(**which: Any) -> list[date | None]:
        return [cost.day for cost in client.jobs.cost(endpoint_name="priced", **which) if cost.jobs]

    usage(job, started_at=datetime.now(UTC).replace(hour=0, minute=0).isoformat()).save(folder, 1)
    assert days() == days(days=1) == days(since=today) == [today]
    assert days(since=today + timedelta(days=1)) == []
    usage(job, started_at=(datetime.now(UTC) - timedelta(days=3)).isoformat()).save(folder, 1)
    assert days(days=3) == []
    assert days(days=4) == [today - timedelta(days=3)]


def test_what_is_asked_for_wrongly(cli_here: Cli):
    assert "give a job, or" in cli_here("job", "cost", "x", "--days", "2", code=1).stderr
    assert "give one of them" in cli_here("job", "cost", "--since", "2026-01-31", "--days", "2", code=1).stderr
