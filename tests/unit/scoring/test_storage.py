"""Folders: what appears whole, what is refused, on local disks and on fsspec's memory."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from prefect_batch.scoring.errors import StorageFailed
from prefect_batch.scoring.storage import Folder


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "local":
        yield Folder(str(tmp_path / "folder"))
        return
    root = f"memory://{uuid4().hex}"
    yield Folder(root)
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def local(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "folder"))


def test_put_makes_folders_and_replaces(folder: Folder) -> None:
    folder.put("a/b/c.txt", b"one")
    folder.put("a/b/c.txt", b"two")
    assert folder.read("a/b/c.txt") == b"two"
    assert folder.files() == ["a/b/c.txt"]


def test_create_refuses_what_is_there(folder: Folder) -> None:
    folder.create("x/a.txt", b"one")
    with pytest.raises(FileExistsError):
        folder.create("x/a.txt", b"two")
    assert folder.read("x/a.txt") == b"one"
    assert folder.files() == ["x/a.txt"]


def test_create_stream_refuses_what_is_there(folder: Folder) -> None:
    with folder.create_stream("x/a.bin") as stream:
        for piece in (b"one", b"two"):
            stream.write(piece)
    assert folder.read("x/a.bin") == b"onetwo"
    with pytest.raises(FileExistsError), folder.create_stream("x/a.bin") as stream:
        stream.write(b"three")
    assert folder.read("x/a.bin") == b"onetwo"


def test_a_stream_that_breaks_off_leaves_nothing(local: Folder) -> None:
    with pytest.raises(RuntimeError), local.create_stream("a.bin") as stream:
        stream.write(b"half")
        assert not local.exists("a.bin")
        raise RuntimeError
    assert os.listdir(local.path) == []  # noqa: PTH208


def test_exactly_one_of_many_creates(folder: Folder) -> None:
    folder.make()
    won: list[int] = []
    gate = threading.Barrier(8)

    def create(number: int) -> None:
        gate.wait(20)
        try:
            folder.create("one", str(number).encode())
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    if folder.is_local:  # memory:// itself looks first and writes then
        assert len(won) == 1
    assert folder.read("one").decode() in map(str, won)


def test_a_reader_sees_the_old_or_the_new_file_never_a_part(local: Folder) -> None:
    sizes = (10, 3_000_000)
    local.put("x", b"0" * sizes[0])
    over = threading.Event()

    def write() -> None:
        for turn in range(40):
            local.put("x", b"1" * sizes[turn % 2])
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen: set[int] = set()
    while not over.is_set():
        seen.add(len(local.read("x")))
    thread.join(20)
    assert seen <= set(sizes)
    assert local.files() == ["x"]


@pytest.mark.parametrize("how", ["put", "create", "upload"])
def test_a_write_that_fails_leaves_what_was_there(
    local: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    local.put("x", b"old")
    (tmp_path / "source").write_bytes(b"new")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    write: dict[str, Callable[[], None]] = {
        "put": lambda: local.put("x", b"new"),
        "create": lambda: local.create("y", b"new"),
        "upload": lambda: local.upload(tmp_path / "source", "x"),
    }
    with pytest.raises(StorageFailed, match=r"cannot write /.*: No space left on device"):
        write[how]()
    monkeypatch.undo()
    assert local.read("x") == b"old"
    assert os.listdir(local.path) == ["x"]  # noqa: PTH208


def test_read_of_a_range(folder: Folder) -> None:
    folder.put("x", b"0123456789")
    assert folder.read("x", 2, 5) == b"234"
    assert folder.read("x", 8, 100) == b"89"
    assert folder.read("x", 0, 100) == b"0123456789"
    with pytest.raises(FileNotFoundError):
        folder.read("missing")


def test_listing(folder: Folder) -> None:
    assert (folder.names(), folder.files(), folder.exists()) == ([], [], False)
    for name in ("b/2", "a", "b/1", "c/d/e"):
        folder.put(name, b"x")
    assert folder.names() == ["a", "b", "c"]
    assert folder.files() == ["a", "b/1", "b/2", "c/d/e"]
    assert (folder / "b").files() == ["1", "2"]
    assert folder.exists() and folder.exists("b/1") and not folder.exists("b/3")


def test_listing_sees_what_another_one_wrote(folder: Folder) -> None:
    assert folder.files() == []
    Folder(folder.url).put("x", b"")
    assert folder.exists("x")
    assert folder.files() == ["x"]


def test_upload(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")
    folder.upload(tmp_path / "source", "deep/er/x")
    folder.upload(tmp_path / "source", "deep/er/x")
    assert folder.read("deep/er/x") == b"data"
    assert folder.files() == ["deep/er/x"]


def test_remove(folder: Folder) -> None:
    folder.put("a/x", b"")
    folder.remove("a/x")
    folder.remove("a/x")
    folder.put("b/x", b"")
    folder.remove_all()
    folder.remove_all()
    assert folder.files() == []


def test_make_is_fine_with_what_is_there(folder: Folder) -> None:
    folder.make().make()
    assert folder.names() == []


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given in (str(tmp_path / "a"), f"{tmp_path}/a/", f"file://{tmp_path}/a", "a"):
        assert Folder(given).url == str(tmp_path / "a")
    assert Folder("/").file_url("x") == "/x"
    assert (Folder("/") / "x").url == "/x"
    assert Folder("memory://a/b").file_url("c") == "memory://a/b/c"
    assert not Folder("memory://a").is_local
