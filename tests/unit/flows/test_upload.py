"""Local data on its way to a datastore: whole, once, and only what a job would read."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from prefect_batch.blocks.contents import AT_ONCE
from prefect_batch.blocks.datastore import Datastore, open_folder
from prefect_batch.flows.upload import upload
from prefect_batch.scoring.errors import BatchError, InvalidDocument, NoItems, NotFound, StorageFailed
from prefect_batch.scoring.storage import Folder


@pytest.fixture(params=["local", "memory"])
def datastore(request: pytest.FixtureRequest, tmp_path: Path) -> Datastore:
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}"
    return Datastore(name="store", url=url)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "my data"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.csv", "sub/a.csv", "b #1%.csv", "ü[x].csv", ".hidden", "_SUCCESS", "sub/.part"):
        (folder / name).write_text(name)
    return folder


VISIBLE = {"a.csv", "sub/a.csv", "b #1%.csv", "ü[x].csv"}


def uploaded(reference: str) -> dict[str, str]:
    folder = open_folder(reference)
    return {name: folder.read(name).decode() for name in folder.files()}


def test_a_folder_arrives_without_hidden_files(source: Path, datastore: Datastore) -> None:
    reference = upload(source, datastore)
    assert reference.startswith(f"{datastore.url}/uploads/") and reference.endswith("/my data")
    assert uploaded(reference) == {name: name for name in VISIBLE}


def test_a_file_arrives_under_its_name(source: Path, datastore: Datastore) -> None:
    reference = upload(source / ".hidden", datastore)  # named, so it is meant
    parent, _, name = reference.rpartition("/")
    assert (name, uploaded(parent)) == (".hidden", {".hidden": ".hidden"})


def test_a_reference_names_the_datastore_where_its_url_is_not_enough(source: Path, tmp_path: Path) -> None:
    datastore = Datastore(name="store", url=f"memory://{tmp_path.name}", options={"skip_instance_cache": True})
    assert upload(source, datastore).startswith("azureml://datastores/store/paths/uploads/")


def test_a_second_call_uploads_nothing(source: Path, datastore: Datastore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = upload(source, datastore)
    monkeypatch.setattr(Folder, "upload", lambda *_: pytest.fail("uploaded again"))
    seen: list[tuple[int, int]] = []
    assert upload(source, datastore, lambda *at: seen.append(at)) == first
    assert len(seen) == 1 and seen[0][0] == seen[0][1]


def test_other_content_is_another_place(source: Path, datastore: Datastore) -> None:
    first = upload(source, datastore)
    (source / "a.csv").write_text("changed")
    second = upload(source, datastore)
    assert first != second
    assert (uploaded(first)["a.csv"], uploaded(second)["a.csv"]) == ("a.csv", "changed")


def test_progress_grows_to_the_total(source: Path, datastore: Datastore) -> None:
    seen: list[tuple[int, int]] = []
    upload(source, datastore, lambda *at: seen.append(at))
    total = sum((source / name).stat().st_size for name in VISIBLE)
    assert [at[0] for at in seen] == sorted(at[0] for at in seen)
    assert (seen[0], seen[-1]) == ((0, total), (total, total))


def test_a_broken_upload_is_finished(source: Path, datastore: Datastore, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Folder.upload
    with monkeypatch.context() as broken:

        def all_but_one(folder: Folder, local: Path, name: str) -> None:
            if local.parent.name == "sub":
                raise OSError("the network went away")
            send(folder, local, name)

        broken.setattr(Folder, "upload", all_but_one)
        with pytest.raises(StorageFailed, match="cannot be uploaded to datastore 'store': the network went away"):
            upload(source, datastore)
    assert not [name for name in (datastore.folder / "uploads").names() if name.endswith(".json")]
    sent: list[str] = []

    def note(folder: Folder, local: Path, name: str) -> None:
        sent.append(local.relative_to(source).as_posix())
        send(folder, local, name)

    monkeypatch.setattr(Folder, "upload", note)
    assert uploaded(upload(source, datastore)) == {name: name for name in VISIBLE}
    assert "sub/a.csv" in sent and len(sent) < len(VISIBLE)


def test_sixteen_files_at_once(tmp_path: Path, datastore: Datastore, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "many").mkdir()
    for number in range(32):
        (tmp_path / "many" / f"{number}.txt").write_text(str(number))
    together = threading.Barrier(AT_ONCE)  # breaks unless as many are under way
    lock, send = threading.Lock(), Folder.upload
    under_way, most = 0, 0

    def watched(folder: Folder, local: Path, name: str) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(timeout=30)
        send(folder, local, name)
        with lock:
            under_way -= 1

    monkeypatch.setattr(Folder, "upload", watched)
    upload(tmp_path / "many", datastore)
    assert most == AT_ONCE == 16


def test_nothing_to_upload(tmp_path: Path, datastore: Datastore) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    (tmp_path / "empty" / "sub" / "_SUCCESS").touch()
    with pytest.raises(NoItems, match="empty holds no file"):
        upload(tmp_path / "empty", datastore)
    with pytest.raises(NotFound, match="missing' does not exist"):
        upload(tmp_path / "missing", datastore)


def test_a_read_only_datastore_takes_nothing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match=r"datastore 'store' is read_only: upload .* to another"):
        upload(source, Datastore(name="store", url=str(tmp_path / "store"), read_only=True))


def test_a_file_that_cannot_be_read(tmp_path: Path, datastore: Datastore) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gone.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BatchError, match=r"gone\.csv cannot be read"):
        upload(tmp_path / "data", datastore)
