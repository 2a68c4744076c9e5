"""Folders on real servers of S3, Azure blobs and http: the same names, the same order, and what faults do to them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tenacity
from proxy import Proxy
from storage_servers import AzureContainer, HttpFiles, S3Bucket

from prefect_batch.flows.collect import remove_output
from prefect_batch.scoring import retries, storage_transfer
from prefect_batch.scoring.errors import StorageFailed
from prefect_batch.scoring.storage import Folder, Found

Place = S3Bucket | AzureContainer | HttpFiles
Proxied = Callable[..., Proxy]

# The order is that of the walk. No newline: Azure refuses control characters in a name.
NAMES = ["a b.txt", "a#b", "a%20b", "a+b", "a?b", "a[b]", "a/[1]/x", "a/z", "a-b/y", "a=1/x", "c'é\"&<", "üñ/日本"]
WALKED = sorted(NAMES, key=lambda name: name.split("/"))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAIT", tenacity.wait_none())


@pytest.fixture(params=["s3", "azure_blobs"])
def store(request: pytest.FixtureRequest) -> S3Bucket | AzureContainer:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["s3", "azure_blobs", "http_files"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)


def folder_of(place: Place, name: str = "in") -> Folder:
    return Folder(f"{place.url}/{name}", place.options, getattr(place, "secrets", ()))


def fill(place: Place, files: dict[str, bytes], name: str = "in") -> Folder:
    """The files put below a folder of the place; on the web server by way of its disk."""
    for path, data in files.items():
        if isinstance(place, HttpFiles):
            Folder(str(place.folder / name)).put(path, data)
        else:
            folder_of(place, name).put(path, data)
    return folder_of(place, name)


def objects(place: S3Bucket | AzureContainer) -> list[str]:
    """All that stands in the bucket, by a client of the test's own."""
    fs, root = place.fs, place.url.split("://")[1]
    fs.invalidate_cache()
    return sorted(str(path).removeprefix(f"{root}/") for path in fs.find(root))


def unfinished(place: S3Bucket) -> list[Any]:
    bucket: str = place.bucket
    return place.fs.call_s3("list_multipart_uploads", Bucket=bucket).get("Uploads", [])


def test_names_are_the_same_everywhere(place: Place, tmp_path: Path) -> None:
    folder = fill(place, {name: name.encode() for name in NAMES})
    assert [found.name for found in folder.walk()] == WALKED
    assert folder.files() == sorted(NAMES)
    assert folder.names() == sorted({name.split("/")[0] for name in NAMES})
    for name in NAMES:
        data = name.encode()
        assert folder.read(name) == data
        assert folder.read(name, 1, 3) == data[1:3]
        assert folder.stat(name) == (False, len(data))
        with folder.open(name) as stream:
            assert stream.read() == data
    targets = [tmp_path / f"{number}" / "x" for number in range(len(NAMES))]
    assert folder.fetch(NAMES, targets) == [None] * len(NAMES)
    assert [target.read_text() for target in targets] == NAMES
    assert (folder / "a" / "[1]").read("x") == b"a/[1]/x"


def test_a_walk_tells_sizes_and_skips(place: Place) -> None:
    files = ("b/1", "b/_x/2", "_tmp/3", "a", ".hidden", "b_", "empty")
    folder = fill(place, {name: b"" if name == "empty" else b"data" for name in files})
    found = list(folder.walk(lambda name: name.startswith((".", "_"))))
    known = not isinstance(place, HttpFiles)
    assert found == [
        Found("a", 4 if known else None),
        Found("b/1", 4 if known else None),
        Found("b_", 4 if known else None),
        Found("empty", 0 if known else None),
    ]


def test_a_stamp_changes_with_the_file(place: Place) -> None:
    folder = fill(place, {"a/x": b"1", "a/y": b"1"})
    if isinstance(place, HttpFiles):
        assert [found.stamp for found in folder.walk()] == [None, None]
        return

    def stamps() -> dict[str, str | None]:
        return {found.name: found.stamp for found in folder.walk()} | {"itself": folder.stamp("a/x")}

    before = stamps()
    assert None not in before.values() and stamps() == before
    folder.put("a/x", b"2")
    after = stamps()
    assert [name for name in before if before[name] != after[name]] == ["a/x", "itself"]


def test_what_marks_a_folder_is_no_file(store: S3Bucket | AzureContainer) -> None:
    folder = fill(store, {"marked": b"", "marked/x": b"1", "marked/y": b"2", "empty": b""})
    if isinstance(store, S3Bucket):
        store.fs.pipe_file(f"{store.bucket}/in/slash/", b"")
        store.fs.pipe_file(f"{store.bucket}/in/", b"")
    assert [found.name for found in folder.walk()] == ["empty", "marked/x", "marked/y"]
    assert folder.stat("marked") == (True, None)
    assert folder.stat("empty") == (False, 0)


def test_what_is_not_there(place: Place, tmp_path: Path) -> None:
    folder = fill(place, {"a/x": b"1"})
    assert folder.stat() == folder.stat("a") == (True, None)
    assert folder.exists("a/x") and not folder.exists("a/y") and not (folder / "b").exists()
    for operation in (
        lambda: folder.stat("a/y"),
        lambda: folder.read("a/y"),
        lambda: folder.open("a/y"),
        lambda: list((folder / "b").walk()),
    ):
        with pytest.raises(FileNotFoundError):
            operation()
    (missing, there) = folder.fetch(["a/y", "a/x"], [tmp_path / "y", tmp_path / "x"])
    assert isinstance(missing, FileNotFoundError) and there is None
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (folder / "b").files() == (folder / "b").names() == []
    with pytest.raises(NotADirectoryError):
        list((folder / "a" / "x").walk())


def test_a_missing_bucket_is_not_made(store: S3Bucket | AzureContainer) -> None:
    folder = Folder(f"{store.url}-none/in", store.options).make()
    for operation in (lambda: folder.put("x", b""), lambda: folder.read("x"), lambda: list(folder.walk())):
        with pytest.raises(FileNotFoundError):
            operation()
    assert not folder.exists()


def test_nothing_is_listed_from_memory(store: S3Bucket | AzureContainer) -> None:
    folder = folder_of(store)
    folder.put("a", b"1")
    assert folder.files() == ["a"]
    Folder(folder.url, {**store.options, "skip_instance_cache": True}).put("b", b"22")
    assert folder.files() == folder.names() == ["a", "b"]
    Folder(folder.url, {**store.options, "skip_instance_cache": True}).put("a", b"333")
    assert folder.stat("a").size == 3


def test_create_is_exclusive(store: S3Bucket | AzureContainer, tmp_path: Path) -> None:
    folder = folder_of(store)
    folder.create("x", b"one")
    with pytest.raises(FileExistsError):
        folder.create("x", b"two")
    with pytest.raises(FileExistsError), folder.create_stream("x"):
        pass
    with pytest.raises(FileExistsError), folder.create_stream("y") as stream:
        stream.write(b"mine")
        folder.put("y", b"another's")
    with folder.create_stream("empty"):
        pass
    (tmp_path / "local").write_bytes(b"new")
    folder.upload(tmp_path / "local", "x")
    assert [folder.read(name) for name in ("x", "y", "empty")] == [b"new", b"another's", b""]


@pytest.mark.parametrize("interrupt", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_a_stream_that_breaks_off_leaves_nothing(
    store: S3Bucket | AzureContainer, interrupt: type[BaseException]
) -> None:
    folder = folder_of(store)
    with pytest.raises(interrupt), folder.create_stream("x") as stream:
        stream.write(b"0" * 20_000_000)
        raise interrupt
    assert objects(store) == []
    if isinstance(store, S3Bucket):
        assert unfinished(store) == []


@pytest.mark.parametrize(
    ("file_name", "left"), [("a.csv", ["a.csv.gz", "part-00000.parquet"]), ("", ["a.csv", "a.csv.gz"])]
)
def test_what_a_killed_flow_had_begun_to_upload_is_given_up(s3: S3Bucket, file_name: str, left: list[str]) -> None:
    names = ["a.csv", "a.csv.gz", "part-00000.parquet"]
    for name in names:
        s3.fs.call_s3("create_multipart_upload", Bucket=s3.bucket, Key=f"out/{name}")
    s3.fs.call_s3("create_multipart_upload", Bucket=s3.bucket, Key="output/a.csv")
    remove_output(folder_of(s3, "out"), file_name)
    assert sorted(upload["Key"] for upload in unfinished(s3)) == [*(f"out/{name}" for name in left), "output/a.csv"]


def test_a_large_file_goes_and_comes_in_parts(
    store: S3Bucket | AzureContainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(store)
    data = bytes(range(251)) * 160_000  # 40 MB
    monkeypatch.setattr(storage_transfer, "BLOCK", 5 * 2**20 // 2)
    with folder.create_stream("x") as stream:
        for start in range(0, len(data), 1_000_000):
            stream.write(data[start : start + 1_000_000])
    assert folder.stat("x").size == len(data)
    assert folder.fetch(["x"], [tmp_path / "x"]) == [None]
    assert (tmp_path / "x").read_bytes() == data
    with folder.open("x") as stream:
        stream.seek(30_000_000)
        assert stream.read(100) == data[30_000_000:30_000_100]
        stream.seek(-7, 2)
        assert stream.read() == data[-7:]
        stream.seek(5)
        assert stream.read() == data[5:]
    if isinstance(store, S3Bucket):
        assert unfinished(store) == []


@pytest.mark.parametrize("fault", ["fail_every", "reset_every", "cut_every", "shorten_every"])
def test_faults_that_pass_are_got_over(place: Place, proxied: Proxied, tmp_path: Path, fault: str) -> None:
    files = {f"{number:02d}": b"0123456789" * 1000 for number in range(20)}
    fill(place, files)
    proxy = proxied(place.endpoint_url, **{fault: 3})
    folder = folder_of(place.through(proxy.url))
    assert len(folder.files()) == 20
    targets = [tmp_path / name for name in files]
    if fault == "shorten_every" and isinstance(place, HttpFiles):
        return  # the header is all that a web server says of a size
    assert folder.fetch(list(files), targets) == [None] * 20
    assert all(target.read_bytes() == files[target.name] for target in targets)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    if fault in ("fail_every", "reset_every") and not isinstance(place, HttpFiles):
        for name in files:
            folder.put(name, b"new")
            folder.create(f"{name}-created", b"x")
        assert len(folder.files()) == 40
    assert sum(proxy.faults.values()) > 0


def test_attempts_are_bounded(place: Place, proxied: Proxied, tmp_path: Path) -> None:
    proxy = proxied(place.endpoint_url, fail_every=1)
    folder = folder_of(place.through(proxy.url))
    with pytest.raises(StorageFailed, match=r"^cannot read .*/in/x: .*\(tried several times"):
        folder.read("x", 0, 10)
    assert sum(proxy.requests.values()) == retries.ATTEMPTS
    (error,) = folder.fetch(["x"], [tmp_path / "x"])
    assert isinstance(error, StorageFailed) and "\n" not in str(error)
    assert sum(proxy.requests.values()) == 2 * retries.ATTEMPTS


def test_no_more_than_the_limit_at_once(store: S3Bucket | AzureContainer, proxied: Proxied, tmp_path: Path) -> None:
    files = {f"{number:02d}": b"x" for number in range(12)}
    fill(store, files)
    proxy = proxied(store.endpoint_url, latency=0.2)
    folder = folder_of(store.through(proxy.url))
    assert folder.fetch(list(files), [tmp_path / name for name in files], limit=4) == [None] * 12
    assert proxy.requests["GET"] == 12


def test_an_answer_that_was_lost(store: S3Bucket | AzureContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(store)
    write = folder.fs.pipe_file

    def unanswered(*args: Any, **kwargs: Any) -> None:
        write(*args, **kwargs)
        monkeypatch.setattr(folder.fs, "pipe_file", write)
        raise ConnectionResetError

    monkeypatch.setattr(folder.fs, "pipe_file", unanswered)
    folder.create("x", b"mine")
    assert folder.read("x") == b"mine"


def wrong(place: S3Bucket | AzureContainer) -> tuple[dict[str, Any], str]:
    """Options with a key that is not the server's, and the key."""
    if isinstance(place, S3Bucket):
        return {**place.options, "secret": "planted-wrong-secret"}, "planted-wrong-secret"
    key = "cGxhbnRlZC13cm9uZy1zZWNyZXQ="
    return replace(place, key=key).options, key


def test_what_may_not_be_done_is_a_permission_error(store: S3Bucket | AzureContainer, proxied: Proxied) -> None:
    proxy = proxied(store.endpoint_url, refuse_writes=True)
    folder = folder_of(store.through(proxy.url))
    with pytest.raises(PermissionError) as caught:
        folder.put("x", b"1")
    assert caught.value.filename == folder.file_url("x")
    assert proxy.requests["PUT"] == 1


def test_no_error_shows_a_secret(azure_blobs: AzureContainer, tmp_path: Path) -> None:
    options, secret = wrong(azure_blobs)
    folder = Folder(f"{azure_blobs.url}/in", options, [secret])
    shown = repr(folder)
    for operation in (
        lambda: folder.put("x", b"1"),
        lambda: folder.read("x"),
        lambda: list(folder.walk()),
        lambda: folder.stat("x"),
    ):
        with pytest.raises(PermissionError) as caught:
            operation()
        assert caught.value.__cause__ is None and caught.value.__context__ is None
        shown += "".join(traceback.format_exception(caught.value))
    (error,) = folder.fetch(["x"], [tmp_path / "x"])
    assert isinstance(error, PermissionError)
    assert secret not in shown + str(error)


def test_a_storage_that_does_not_answer(place: Place) -> None:
    gone = "http://127.0.0.1:9"
    folder = folder_of(place.through(gone))
    with pytest.raises(StorageFailed, match=r"cannot read .*/in/x: .*check that the storage can be reached"):
        folder.read("x")


def test_brackets_in_a_folder_are_no_pattern(store: S3Bucket | AzureContainer) -> None:
    for name in ("in[1]/x", "in1/x", "in*/x"):
        folder_of(store, "").put(name, b"")
    for name in ("in[1]", "in*"):
        assert folder_of(store, name).files() == ["x"]
        folder_of(store, name).remove("x")
    assert objects(store) == ["in1/x"]


def test_remove(store: S3Bucket | AzureContainer) -> None:
    folder = fill(store, {"a/x": b"1", "a/y [1]": b"2", "b": b"3"})
    folder.remove("b")
    folder.remove("b")
    (folder / "a").remove("y [1]")
    assert objects(store) == ["in/a/x"]


def test_a_web_server_is_only_read(http_files: HttpFiles) -> None:
    folder = folder_of(http_files)
    for operation in (
        lambda: folder.put("x", b""),
        lambda: folder.create("x", b""),
        lambda: folder.remove("x"),
        folder.make,
    ):
        with pytest.raises(StorageFailed, match="can only be read"):
            operation()


def test_a_web_folder_that_links_back_to_itself(http_files: HttpFiles) -> None:
    folder = fill(http_files, {"a.txt": b"a", "sub/b.txt": b"b"})
    (http_files.folder / "in" / "sub" / "again").symlink_to(".")
    with pytest.raises(StorageFailed, match="32 deep: does one of them link back to itself"):
        list(folder.walk())


def test_a_web_page_is_a_file(http_files: HttpFiles) -> None:
    page = b"<html><a href='x'>x</a><a href='/'>up</a></html>"
    folder = fill(http_files, {"page.html": page, "sub/page.html": page})
    assert folder.stat("page.html") == (False, len(page))
    assert folder.stat("sub") == folder.stat("sub/") == (True, None)
    assert Folder(f"{folder.url}/").stat() == (True, None)
    assert folder.files() == ["page.html", "sub/page.html"]
    assert Folder(folder.file_url("page.html")).read("") == page
