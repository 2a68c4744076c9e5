"""Scratch folders: gone after use, and those of killed processes with the next one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from prefect_batch.scoring import scratch
from prefect_batch.scoring.storage import Folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_for_the_time_of_a_block(temporary: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch.folder() as folder:
        (folder / "x").write_text("x")
        assert list(temporary.iterdir()) == [folder]
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


def test_folders_of_killed_processes_are_swept(temporary: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    host = socket.gethostname()
    stale = temporary / f"prefect-batch-{host}-{dead.pid}-abc"
    kept = [
        temporary / f"prefect-batch-{host}-{os.getppid()}-abc",
        temporary / f"prefect-batch-elsewhere-{dead.pid}-abc",
        temporary / f"prefect-batch-snapshots-{dead.pid}",
        temporary / f"other-{host}-{dead.pid}-abc",
    ]
    for folder in (stale, *kept):
        (folder / "code").mkdir(parents=True)
    scratch.make()
    assert not stale.exists()
    assert all(folder.exists() for folder in kept)


def test_what_is_gathered_for_a_remote_storage_can_be_swept(temporary: Path) -> None:
    """A flow may be killed while it writes an output of many GB."""
    with Folder("memory://x").create_stream("y") as stream:
        stream.write(b"1")
        assert [path.name.startswith(f"prefect-batch-{scratch.node()}-") for path in temporary.iterdir()] == [True]
    assert list(temporary.iterdir()) == []
