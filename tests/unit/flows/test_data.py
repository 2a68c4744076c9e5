"""InputFolder and its like: used like paths, with and without a job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest
from pydantic import TypeAdapter, ValidationError
from storage_servers import S3Bucket

from prefect_batch.blocks import datastore
from prefect_batch.flows import data_files
from prefect_batch.flows.data import CURRENT_JOB, InputFile, InputFolder, OutputFile, OutputFolder, folder
from prefect_batch.scoring.storage import Folder


def test_local_ones_are_used_where_they_lie(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.txt").write_text("b")
    (tmp_path / "in" / "a.txt").write_text("a")
    data, out = InputFolder(tmp_path / "in"), OutputFolder(str(tmp_path / "new" / "out"))
    assert data.path == tmp_path / "in" and data.name == "in" and str(data) == f"{tmp_path}/in"
    assert [path.name for path in data.files()] == ["a.txt", "b.txt"]
    assert sorted(path.name for path in data.glob("b*")) == ["b.txt"]
    with open(InputFile(data / "a.txt")) as stream:  # noqa: PTH123
        assert stream.read() == "a"
    (out / "c.txt").write_text("c")
    assert (out.input / "c.txt").read_text() == "c"
    file = OutputFile(tmp_path / "also" / "new.txt")
    with open(file, "w") as stream:  # noqa: PTH123
        stream.write("d")
    assert file.input.read_text() == "d"


def test_they_travel_and_compare(tmp_path: Path):
    data = InputFolder(tmp_path, "/job")
    assert cloudpickle.loads(cloudpickle.dumps(data)) == data != OutputFolder(tmp_path, "/job")
    adapter = TypeAdapter(InputFolder)
    assert adapter.validate_python(data) is data
    assert adapter.validate_python(str(tmp_path)) == InputFolder(tmp_path)
    assert adapter.dump_python(data) == str(tmp_path)
    with pytest.raises(ValidationError, match="no InputFolder"):
        adapter.validate_python(OutputFolder(tmp_path))


def test_a_folder_between_tasks(tmp_path: Path):
    outside = folder("prepared")
    assert list(outside.iterdir()) == [] and outside != folder("prepared")
    token = CURRENT_JOB.set(str(tmp_path))
    try:
        inside = folder("prepared")
        assert inside == folder("prepared") and inside.path == tmp_path / "folders" / "prepared"
        for name in ("../out", "a/b", ".hidden", ""):
            with pytest.raises(ValueError, match="a name is"):
                folder(name)
    finally:
        CURRENT_JOB.reset(token)


@pytest.fixture
def bucket(s3: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """Opened by its URL alone, as if a datastore had its credentials."""

    def opened(reference: str) -> Folder:
        return Folder(reference, s3.options) if reference.startswith("s3://") else datastore.open_folder(reference)

    monkeypatch.setattr(data_files, "open_folder", opened)
    return s3


def test_remote_data_is_fetched_once(bucket: S3Bucket):
    for name in ("in/a.txt", "in/sub/b.txt"):
        bucket.fs.pipe_file(f"{bucket.bucket}/{name}", name.encode())
    data = InputFolder(f"{bucket.url}/in", f"{bucket.url}/job")
    assert [path.read_text() for path in data.files()] == ["in/a.txt", "in/sub/b.txt"]
    file = InputFile(f"{bucket.url}/in/sub/b.txt", data.job)
    assert file.path.name == "b.txt" and file.read_bytes() == b"in/sub/b.txt"
    bucket.fs.rm(f"{bucket.bucket}/in", recursive=True)
    assert InputFolder(data.reference, data.job).path == data.path
    kept = data.path
    data_files.release(data.job)
    assert not kept.exists()
    with pytest.raises(FileNotFoundError):
        _ = data.path
    with pytest.raises(FileNotFoundError):
        _ = data.path  # the first attempt left nothing that would pass for the data
    data_files.release(data.job)


def test_what_is_written_is_sent_and_seen_by_others(bucket: S3Bucket):
    job = f"{bucket.url}/job"
    out, file = OutputFolder(f"{job}/outputs/out", job), OutputFile(f"{job}/outputs/one/one.txt", job)
    (out / "sub").mkdir()
    (out / "sub" / "a.txt").write_text("a")
    file.write_text("one")
    assert not bucket.fs.exists(f"{bucket.bucket}/job")
    data_files.send(job)
    assert bucket.fs.cat_file(f"{bucket.bucket}/job/outputs/out/sub/a.txt") == b"a"
    assert bucket.fs.cat_file(f"{bucket.bucket}/job/outputs/one/one.txt") == b"one"
    assert [path.name for path in out.input.files()] == ["a.txt"]
    bucket.fs.pipe_file(f"{bucket.bucket}/job/outputs/out/b.txt", b"of another worker")
    (out / "c.txt").write_text("not sent yet")
    assert [path.name for path in out.input.files()] == ["b.txt", "c.txt", "a.txt"]
    data_files.release(job)


def test_importing_it_is_cheap():
    code = "import sys, prefect_batch.flows.data, prefect_batch.flows.score; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "pyarrow", "dask", "distributed", "mlflow"} & set(done.stdout.split())
