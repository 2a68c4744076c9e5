"""Folders: what appears whole, what is refused, what is listed; on local disks, in memory, on a storage of ours."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pickle
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
import tenacity
from fsspec.asyn import AsyncFileSystem

from prefect_batch.scoring import retries
from prefect_batch.scoring.errors import DiskFull, JobReleased, StorageFailed
from prefect_batch.scoring.storage import Folder, Found
from prefect_batch.scoring.storage_errors import Redaction
from prefect_batch.scoring.storage_http import links


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


def test_a_stream_to_a_full_disk_says_what_to_do(folder: Folder) -> None:
    said = r"cannot write \S+x/a.bin: No space left on device: make room on that disk"
    with pytest.raises(DiskFull, match=said), folder.create_stream("x/a.bin") as stream:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not folder.exists("x/a.bin")


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


def test_walk_is_the_same_everywhere(folder: Folder) -> None:
    names = ["a/z", "a-b/y", "a b", "a#b", "a%20b", "a+b", "a?b", "a[b]", "line\nbreak", "é/日本", "a/[1]/x", "0"]
    for name in names:
        folder.put(name, name.encode())
    found = list(folder.walk())
    assert [entry.name for entry in found] == sorted(names, key=lambda name: name.split("/"))
    assert [entry.size for entry in found] == [len(entry.name.encode()) for entry in found]
    assert all(folder.read(name) == name.encode() for name in names)


def test_walk_skips_files_and_whole_folders(folder: Folder) -> None:
    for name in (".a", "_b/c", "d/_e/f", "d/g", "h_"):
        folder.put(name, b"x")
    assert [entry.name for entry in folder.walk(lambda name: name.startswith((".", "_")))] == ["d/g", "h_"]


def test_walk_of_what_is_no_folder(folder: Folder) -> None:
    folder.put("x", b"1")
    with pytest.raises(FileNotFoundError):
        list((folder / "y").walk())
    with pytest.raises(NotADirectoryError):
        list((folder / "x").walk())


def test_walk_of_links(local: Folder, tmp_path: Path) -> None:
    local.put("a/x", b"12")
    root = Path(local.path)
    (root / "a" / "up").symlink_to(root)
    (root / "dangling").symlink_to(root / "nothing")
    (root / "link").symlink_to(root / "a" / "x")
    os.mkfifo(root / "pipe")
    assert list(local.walk()) == [Found("a/x", 2), Found("dangling", None), Found("link", 2)]


def test_walk_of_what_may_not_be_read(local: Folder) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read everything")
    local.put("a/x", b"")
    Path(local.path, "a").chmod(0)
    try:
        with pytest.raises(PermissionError):
            list(local.walk())
    finally:
        Path(local.path, "a").chmod(0o700)


def test_stat(folder: Folder) -> None:
    folder.put("a/x", b"123")
    folder.put("marked", b"")
    assert folder.stat() == folder.stat("a") == (True, None)
    assert folder.stat("a/x") == (False, 3)
    assert folder.stat("marked") == (False, 0)
    for missing in ("b", "a/y"):
        with pytest.raises(FileNotFoundError):
            folder.stat(missing)


def test_open_seeks(folder: Folder) -> None:
    data = bytes(range(256)) * 100
    folder.put("x", data)
    with folder.open("x") as stream:
        stream.seek(-10, os.SEEK_END)
        assert stream.read() == data[-10:]
        assert stream.read() == b""
        stream.seek(300)
        assert stream.read(5) == data[300:305]
        stream.seek(len(data) + 5)
        assert stream.read(1) == b""
        stream.seek(0)
        assert stream.read() == data
    with (folder / "x").open() as stream:
        assert stream.readline() == data[:11]
    with pytest.raises(FileNotFoundError):
        folder.open("y")


def test_fetch(folder: Folder, tmp_path: Path) -> None:
    for name in ("a/x", "b/x"):
        folder.put(name, name.encode())
    targets = [tmp_path / "to" / name for name in ("a/x", "none", "b/x")]
    first, missing, last = folder.fetch(["a/x", "none", "b/x"], targets)
    assert first is None and last is None and isinstance(missing, FileNotFoundError)
    assert (targets[0].read_bytes(), targets[2].read_bytes()) == (b"a/x", b"b/x")
    assert sorted(os.listdir(tmp_path / "to")) == ["a", "b"]  # noqa: PTH208
    assert folder.fetch([], []) == []


class Slow(AsyncFileSystem):
    """A storage whose files are 10 bytes, with a script of what goes wrong."""

    protocol = "slow"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.now = self.most = 0
        self.wrong: dict[str, list[Exception | bytes]] = {}

    async def _get_file(self, rpath: str, lpath: str, callback: Any = None, **_: Any) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        callback.set_size(10)
        planned = self.wrong.get(rpath, [])
        turn = planned.pop(0) if planned else b"0123456789"
        Path(lpath).write_bytes(b"half" if isinstance(turn, Exception) else turn)
        if isinstance(turn, Exception):
            raise turn


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(retries, "WAIT", tenacity.wait_none())
    fsspec.register_implementation("slow", Slow, clobber=True)
    return Folder("slow://in", secrets=["hunter2"])


def test_fetch_is_bounded_over_all_calls(slow: Folder, tmp_path: Path) -> None:
    names = [str(number) for number in range(10)]

    def fetch(number: int) -> None:
        assert (slow / f"{number}").fetch(names, [tmp_path / str(number) / name for name in names], limit=3) == [
            None
        ] * 10

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert slow.fs.most == 3


def test_fetch_tries_again_and_leaves_no_half(slow: Folder, tmp_path: Path) -> None:
    slow.fs.wrong = {
        "in/short": [b"012", b"01234"],
        "in/reset": [ConnectionResetError("by peer")],
        "in/always": [b"012"] * 9,
        "in/odd": [ValueError("odd, with hunter2")],
    }
    names = ["short", "reset", "always", "odd", "fine"]
    errors = slow.fetch(names, [tmp_path / name for name in names])
    assert [error is None for error in errors] == [True, True, False, False, True]
    assert str(errors[2]) == (
        "cannot fetch slow://in/always: 3 bytes arrived of 10 (tried several times: check that the storage can be "
        "reached and is well, then run it again)"
    )
    assert str(errors[3]) == "cannot fetch slow://in/odd: odd, with ***"
    assert sorted(os.listdir(tmp_path)) == ["fine", "reset", "short"]  # noqa: PTH208


@pytest.fixture
def memory() -> Iterator[Folder]:
    yield Folder(f"memory://{uuid4().hex}")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def lost(memory: Folder, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The answer of the storage's next such operation is lost: what it did stays done."""
    monkeypatch.setattr(retries, "WAIT", tenacity.wait_none())

    def lose(operation: str) -> None:
        real = getattr(memory.fs, operation)

        def unanswered(*args: Any, **kwargs: Any) -> None:
            monkeypatch.setattr(memory.fs, operation, real)
            with contextlib.suppress(FileExistsError):
                real(*args, **kwargs)
            raise ConnectionResetError

        monkeypatch.setattr(memory.fs, operation, unanswered)

    return lose


def test_our_own_file_is_not_in_our_way(memory: Folder, lost: Callable[[str], None]) -> None:
    lost("pipe_file")
    memory.create("x", b"mine")
    lost("put_file")
    with memory.create_stream("y") as stream:
        stream.write(b"mine")
    assert memory.read("x") == memory.read("y") == b"mine"


def test_another_ones_file_still_is(memory: Folder, lost: Callable[[str], None]) -> None:
    memory.put("x", b"another's")
    lost("pipe_file")
    with pytest.raises(FileExistsError):
        memory.create("x", b"mine")
    assert memory.read("x") == b"another's"


def test_a_stream_finds_what_came_meanwhile(folder: Folder) -> None:
    with pytest.raises(FileExistsError), folder.create_stream("x") as stream:
        stream.write(b"mine")
        folder.put("x", b"another's")
    assert folder.read("x") == b"another's"
    with pytest.raises(RuntimeError), folder.create_stream("y") as stream:
        raise RuntimeError
    assert folder.files() == ["x"]


def test_a_folder_is_not_pickled() -> None:
    folder = Folder("memory://bucket", secrets=["hunter2"])
    with pytest.raises(TypeError, match=r"Folder\('memory://bucket'\) may hold credentials and cannot be pickled"):
        pickle.dumps(folder)
    assert repr(Folder("https://me:hunter2@example.org/x?sig=abc")) == "Folder('https://***@example.org/x?***')"


def test_errors_are_one_clean_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAIT", tenacity.wait_none())
    folder = Folder("memory://bucket/in", secrets=["hun ter/2"])

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no hun ter/2 or hun%20ter%2F2 at\nhttps://example.org/x?sv=1&sig=abc, AccountKey=xyz==;")

    monkeypatch.setattr(folder.fs, "cat_file", fail)
    with pytest.raises(StorageFailed) as caught:
        folder.read("x")
    assert str(caught.value) == "cannot read memory://bucket/in/x: no *** or *** at"
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    redact = Redaction(["hunter2"])
    for text in (
        "https://a.blob.core.windows.net/c?sv=1&sig=abc%3D",
        "GET /x?X-Amz-Signature=abc&X-Amz-Date=1",
        "AccountName=a;AccountKey=abc==;EndpointSuffix=x",
        "https://user:abc@example.org/x",
        "s3://key:abc@bucket/x",
    ):
        assert "abc" not in redact(text)


def test_may_not_is_a_permission_error(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder("memory://bucket/in")
    for name in ("NoCredentialsError", "ClientAuthenticationError"):

        def fail(*args: Any, **kwargs: Any) -> None:
            raise type(name, (Exception,), {})("Unable to locate credentials")  # noqa: B023

        monkeypatch.setattr(folder.fs, "cat_file", fail)
        with pytest.raises(PermissionError) as caught:
            folder.read("x")
        assert caught.value.filename == "memory://bucket/in/x"
        assert caught.value.strerror == "may not read it (Unable to locate credentials)"


def test_a_condition_that_fails_means_that_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder("memory://bucket/in")

    def fail(*args: Any, **kwargs: Any) -> None:
        error = OSError(22, "At least one of the pre-conditions you specified did not hold")
        error.status = 412  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(folder.fs, "pipe_file", fail)
    with pytest.raises(FileExistsError):
        folder.create("x", b"")


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    monkeypatch.setitem(sys.modules, "paramiko", None)
    for protocol in ("abfs", "sftp"):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    for module in [name for name in sys.modules if name.startswith("fsspec.implementations.sftp")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(StorageFailed, match=r"^abfs:// needs the package adlfs: pip install 'prefect-batch\[azure\]'$"):
        Folder("abfs://container/x")
    with pytest.raises(StorageFailed, match=r"^sftp:// needs a package that is not installed here: .*paramiko"):
        Folder("sftp://host/x")
    with pytest.raises(StorageFailed, match="cannot open nosuch://host/x: Protocol not known: nosuch"):
        Folder("nosuch://host/x")


def test_azure_paths_are_no_urls() -> None:
    pytest.importorskip("adlfs")
    options = {"account_name": "acct", "account_key": "a2V5"}
    for url in (
        "abfs://c/x y/a?b#c",
        "abfss://c@acct.dfs.core.windows.net/x y/a?b#c",
        "abfss://acct.dfs.core.windows.net/c/x y/a?b#c",
    ):
        assert Folder(url, options).path == "c/x y/a?b#c"


def test_index_pages() -> None:
    page = b"""<a href="?C=N;O=D">Name</a> <a href="/">top</a> <a href="../">up</a> <a href="http://else.where/x">x</a>
        <a href="%2e%2e/up">x</a> <a href="a%20b%23.csv">x</a> <a href="/in/sub/">x</a> <a href='./c&amp;d'>x</a>
        <a name="anchor">x</a> <a href="#top">x</a> <a href="http://host/in/z">x</a> <a href="z#part">x</a>"""
    assert links(page, "http://host/in/") == ["a b#.csv", "c&d", "sub/", "z"]


def test_fetch_ends_early_when_it_is_told_to(slow: Folder, tmp_path: Path) -> None:
    names = [str(number) for number in range(200)]
    targets = [tmp_path / name for name in names]
    errors = slow.fetch(names, targets, 1, stopped=lambda: any(tmp_path.iterdir()))
    assert 0 < len(list(tmp_path.glob("[0-9]*"))) < 200
    assert {type(error) for error in errors} == {type(None), JobReleased}
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_said_and_not_tried_again(slow: Folder, tmp_path: Path) -> None:
    slow.fs.wrong = {"in/x": [OSError(errno.ENOSPC, "No space left on device")]}
    (error,) = slow.fetch(["x"], [tmp_path / "x"])
    assert str(error).startswith("cannot fetch slow://in/x: No space left on device: make room on that disk")
