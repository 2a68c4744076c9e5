"""Steps whose data, code, record and outputs are on an S3 server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commit_cases
import pytest
from commit_cases import Place
from pipeline_jobs import data, make_job, place
from storage_servers import S3Bucket

from prefect_batch.flows.run_step import finished, run_step
from prefect_batch.scoring.storage import Folder


@pytest.fixture
def bucket(s3: S3Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Folder]:
    """A bucket whose URL alone opens it."""
    for key, value in {
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3.options["key"],
        "AWS_SECRET_ACCESS_KEY": s3.options["secret"],
    }.items():
        monkeypatch.setenv(key, value)
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield Folder(s3.url)
    assert [path for path in scratch.iterdir() if not path.name.startswith("prefect-batch-snapshots-")] == []


@pytest.fixture
def at(bucket: Folder, tmp_path: Path) -> Place:
    return Place(bucket.url, tmp_path / "staged")


def test_only_one_of_many_attempts_stands(at: Place) -> None:
    commit_cases.only_one_stands(at)


@pytest.mark.parametrize("pause", ["_place", "_upload", "_end"])
def test_an_attempt_that_comes_back(at: Place, monkeypatch: pytest.MonkeyPatch, pause: str) -> None:
    commit_cases.one_that_comes_back(at, monkeypatch, pause)


def test_an_attempt_that_was_killed(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_cases.one_that_was_killed(at, monkeypatch)


def test_what_is_not_ours_stays(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_cases.what_is_not_ours_stays(at, monkeypatch)


def test_one_that_ends_between_two_looks(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_cases.one_that_ends_between_two_looks(at, monkeypatch)


def test_two_jobs_with_one_folder(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_cases.two_jobs_with_one_folder(at, monkeypatch)


def pipeline(is_deterministic: bool = True) -> dict[str, Any]:
    """Reads a folder and a file, writes both, and hands the folder on."""
    first = {
        "command": "python copy.py ${{inputs.folder}} ${{inputs.file}} ${{outputs.folder}} ${{outputs.file}}",
        "inputs": {"folder": {}, "file": {"type": "uri_file"}},
        "outputs": {"folder": {}, "file": {"type": "uri_file"}},
        "is_deterministic": is_deterministic,
    }
    second = {
        "command": "ls ${{inputs.copied}}/deep; echo ${{inputs.url}}; exit 1",
        "inputs": {"copied": {}, "url": {"mode": "direct"}},
    }
    return {
        "first": {
            "component": first,
            "inputs": {"folder": "${{parent.inputs.folder}}", "file": "${{parent.inputs.file}}"},
            "outputs": {"file": "${{parent.outputs.file}}"},
        },
        "second": {
            "component": second,
            "inputs": {"copied": "${{parent.jobs.first.outputs.folder}}", "url": "${{parent.inputs.folder}}"},
        },
    }


COPY = """
import shutil, sys
folder, file, to_folder, to_file = sys.argv[1:]
assert file.endswith("/x.csv") and to_file.endswith("/file")
shutil.copytree(folder, to_folder, dirs_exist_ok=True)
shutil.copyfile(file, to_file)
"""


def test_everything_is_remote(bucket: Folder, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "copy.py").write_text(COPY)
    for name in ("in/a b.csv", "in/deep/c.csv", "x.csv"):
        bucket.put(name, name.encode())

    def job(name: str, **options: Any) -> Any:
        inputs = {"folder": data(f"{bucket.url}/in"), "file": data(f"{bucket.url}/x.csv")}
        outputs = {"file": place(f"{bucket.url}/azureml/{name}/file", is_file=True)}
        return make_job(
            bucket.url, name, pipeline(), inputs, outputs, tmp_path / "code",
            {"folder": {}, "file": {"type": "uri_file"}}, **options,
        )  # fmt: skip

    one = job("one")
    first = run_step(one.root, "first", 1)
    assert first.completed, first.message
    assert first.outputs["folder"].location.url == f"{bucket.url}/azureml/one/first/folder"
    assert first.outputs["folder"].files == [("a b.csv", 10), ("deep/c.csv", 13)]
    assert bucket.read("azureml/one/file") == b"x.csv" and finished(one, "first") == first
    for number in (1, 2):
        second = run_step(one.root, "second", number)
        assert second.state == "Failed" and second.message.splitlines()[1:] == ["c.csv", f"{bucket.url}/in"]
    assert bucket.read("jobs/one/steps/second/log.txt").count(b"c.csv") == 2

    two = job("two")
    taken = run_step(two.root, "first", 1)
    assert taken.reused_from == "one" and taken.outputs == first.outputs and finished(two, "first") == taken
    assert not (bucket / "azureml" / "two").exists()
    bucket.put("in/a b.csv", b"changed!")
    assert run_step(job("three").root, "first", 1).reused_from is None
    bucket.remove("azureml/one/file")
    assert finished(two, "first") is None


def test_a_folder_that_a_step_leaves_empty(bucket: Folder) -> None:
    """Object stores have none: the next step finds one nevertheless, and both may be reused."""
    steps = {
        "first": {"component": {"command": "true", "outputs": {"out": {}}}},
        "second": {
            "component": {
                "command": "cp -r ${{inputs.empty}}/. ${{outputs.out}}",
                "inputs": {"empty": {}},
                "outputs": {"out": {}},
            },
            "inputs": {"empty": "${{parent.jobs.first.outputs.out}}"},
        },
    }
    for name, earlier in {"one": None, "two": "one"}.items():
        job = make_job(bucket.url, name, steps)
        for step in steps:
            result = run_step(job.root, step, 1)
            assert (result.state, result.message, result.reused_from) == (
                "Completed",
                f"reused from job {earlier}" if earlier else "",
                earlier,
            )
            assert finished(job, step) == result
