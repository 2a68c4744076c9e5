"""Disks without room, that are only to be read, or from which somebody deletes what a job writes to."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path
from uuid import uuid4

import pytest
from endpoints import Ended
from prefect.client.orchestration import get_client

from prefect_batch.blocks.datastore import POINTER, create_datastore, set_default
from prefect_batch.blocks.datastore_file import parse_datastore

from .cases import EXPECTED, FILES, HEADER, NAMES, check, deploy, files, trial
from .world import World

ROW = 100_000
"""Characters of a row that is long."""
TRIES = 1000
SMALL, LARGE = "1m", "64m"


class Disk:
    """A tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def remount(self, options: str) -> None:
        command = ["mount", "-o", f"remount,{options}", str(self.path)]
        for _ in range(TRIES):  # it is refused while somebody writes a file
            if not (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
                return
        raise AssertionError(done.stderr)


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Disk]:
    """A disk of one megabyte; skips where nothing may be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextlib.contextmanager
def default_datastore_at(path: Path) -> Generator[None]:
    name = f"disk-{uuid4().hex[:8]}"
    with get_client(sync_client=True) as client:
        create_datastore(client, parse_datastore({"name": name, "type": "local", "path": str(path)}, "a test", path))
        set_default(client, name)
        try:
            yield
        finally:
            client.delete_variable_by_name(POINTER)


def read(folder: Path) -> Callable[[Ended], dict[str, bytes]]:
    return lambda _: {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def lengthy(world: World) -> str:
    """An endpoint whose rows are long: 2.4 MB for all files."""
    run = f"return [Path(p).name + 'x' * {ROW} for p in mini_batch]"
    world.deploy_script("lengthy", run, mini_batch_size=1, max_concurrency_per_instance=2)
    return "lengthy"


LENGTHY = "".join(f"{line}\n" for line in (HEADER, *(name + "x" * ROW for name in NAMES))).encode()


def test_no_room_for_the_parts(world: World, lengthy: str, disk: Disk, tmp_path: Path) -> None:
    with trial(world, "Disks", "no room for the parts") as found, default_datastore_at(disk.path):
        out = tmp_path / "out"
        job = world.start(lengthy, inputs={"data": str(files(world))}, outputs={"score": {"path": str(out)}})
        ended = world.wait(job)
        assert ended.state in ("Failed", "Crashed") and "No space left" in ended.message, ended.message
        disk.remount(f"size={LARGE}")
        check(world, job, found, LENGTHY, read(out))


def test_no_room_for_the_output(world: World, lengthy: str, disk: Disk) -> None:
    with trial(world, "Disks", "no room for the output") as found:
        out = disk.path / "out"
        job = world.start(lengthy, inputs={"data": str(files(world))}, outputs={"score": {"path": str(out)}})
        ended = world.wait(job)
        assert ended.state == "Failed" and "predictions.csv: No space left" in ended.message, ended.message
        assert not [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
        disk.remount(f"size={LARGE}")
        check(world, job, found, LENGTHY, read(out))


@pytest.mark.parametrize("what", ["parts", "output"])
def test_a_disk_turns_read_only(world: World, disk: Disk, tmp_path: Path, what: str) -> None:
    endpoint = deploy(world, f"read-only-{what}")
    out = (tmp_path if what == "parts" else disk.path) / "out"
    with trial(world, "Disks", f"the disk of the {what} turns read-only") as found, contextlib.ExitStack() as stack:
        if what == "parts":
            stack.enter_context(default_datastore_at(disk.path))
        job = world.start(endpoint, inputs={"data": str(files(world))}, outputs={"score": {"path": str(out)}})
        world.until_some("scoring process")
        world.until(job, "a part", lambda _: world.parts(job) or None)
        disk.remount("ro")
        ended = world.wait(job)
        assert ended.state in ("Failed", "Crashed") and "Read-only" in ended.message, ended.message
        disk.remount("rw")
        check(world, job, found, EXPECTED, read(out))


def test_the_output_folder_is_deleted(world: World, tmp_path: Path) -> None:
    endpoint = deploy(world, "deleted")
    out = tmp_path / "out"
    with trial(world, "Disks", "the output's folder is deleted while the job runs") as found:
        job = world.start(endpoint, inputs={"data": str(files(world))}, outputs={"score": {"path": str(out)}})
        world.until(job, "some parts", lambda _: world.parts(job) > FILES // 4 or None)
        shutil.rmtree(out, ignore_errors=True)
        check(world, job, found, EXPECTED, read(out))


def test_the_jobs_own_folder_is_deleted(world: World, tmp_path: Path) -> None:
    """What was committed is gone: the job says so, and does not take a part for the whole."""
    endpoint = deploy(world, "bereft", seconds=1.0)  # not to be done before its folder is gone
    out = tmp_path / "out"
    with trial(world, "Disks", "the job's own folder is deleted while it runs"):
        job = world.start(endpoint, inputs={"data": str(files(world))}, outputs={"score": {"path": str(out)}})
        world.until(job, "some parts", lambda _: world.parts(job) > FILES // 4 or None)
        folder = world.folder(job)
        while folder.exists():
            shutil.rmtree(folder, ignore_errors=True)  # somebody writes into what is being deleted
        ended = world.wait(job)
        assert ended.state == "Failed" and "somebody has deleted" in ended.message, ended.message
        assert not out.exists() or not list(out.iterdir())
