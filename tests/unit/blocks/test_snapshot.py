"""Snapshots: content decides, what is there is not copied again, a change of the source changes nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from prefect_batch.blocks.datastore import Datastore
from prefect_batch.blocks.snapshot import fetch, take
from prefect_batch.scoring.errors import BatchError, InvalidDocument, NotFound
from prefect_batch.scoring.storage import Folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.txt").write_text("b")
    return folder


@pytest.fixture(params=["local", "memory"])
def datastore(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Datastore:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return Datastore(url=str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}")


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_back_as_the_one_child(source: Path, datastore: Datastore) -> None:
    snapshot = take(source, datastore)
    assert (snapshot.name, snapshot.root) == ("model", datastore.reference())
    for _ in range(2):
        assert files(fetch(snapshot)) == {"model/a.txt": "a", "model/sub/b.txt": "b"}
        assert [child.name for child in fetch(snapshot).iterdir()] == ["model"]


def test_a_file_comes_back_under_its_name(source: Path, datastore: Datastore) -> None:
    assert files(fetch(take(source / "a.txt", datastore))) == {"a.txt": "a"}


def test_another_name_for_the_child(source: Path, datastore: Datastore) -> None:
    assert set(files(fetch(take(source, datastore, "renamed")))) == {"renamed/a.txt", "renamed/sub/b.txt"}


def test_a_change_afterwards_changes_nothing(source: Path, datastore: Datastore) -> None:
    before = take(source, datastore)
    (source / "a.txt").write_text("changed")
    after = take(source, datastore)
    assert before.digest != after.digest
    assert files(fetch(before))["model/a.txt"] == "a"
    assert files(fetch(after))["model/a.txt"] == "changed"


def test_the_same_content_is_copied_once(source: Path, datastore: Datastore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = take(source, datastore)
    monkeypatch.setattr(Folder, "upload", lambda *_: pytest.fail("copied again"))
    assert take(source, datastore) == first


def test_a_copy_that_was_broken_off_is_finished(
    source: Path, datastore: Datastore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = Folder.upload
    with monkeypatch.context() as broken:

        def first_only(folder: Folder, local: Path, name: str) -> None:
            if local.name == "b.txt":
                raise OSError("the network went away")
            upload(folder, local, name)

        broken.setattr(Folder, "upload", first_only)
        with pytest.raises(OSError, match="went away"):
            take(source, datastore)
    sent: list[str] = []

    def note(folder: Folder, local: Path, name: str) -> None:
        sent.append(local.name)
        upload(folder, local, name)

    monkeypatch.setattr(Folder, "upload", note)
    assert set(files(fetch(take(source, datastore)))) == {"model/a.txt", "model/sub/b.txt"}
    assert sent == ["b.txt"]


def test_a_file_that_changes_while_it_is_copied(
    source: Path, datastore: Datastore, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = Folder.upload

    def and_write(folder: Folder, local: Path, name: str) -> None:
        upload(folder, local, name)
        if local.name == "a.txt":
            local.write_text("longer")

    with monkeypatch.context() as changing:
        changing.setattr(Folder, "upload", and_write)
        with pytest.raises(BatchError, match=r"a\.txt changed while it was being copied"):
            take(source, datastore)
    assert files(fetch(take(source, datastore)))["model/a.txt"] == "longer"


def test_a_copy_that_is_gone(source: Path) -> None:
    snapshot = take(source, Datastore(url="memory://gone"))
    stored = Datastore(url="memory://gone").folder
    for name in stored.files():
        stored.remove(name)
    with pytest.raises(NotFound, match=r"the copy of 'model' in .* is gone: create the deployment again"):
        fetch(snapshot)


@pytest.mark.parametrize("change", ["name", "content", "moved"])
def test_what_the_digest_covers(source: Path, datastore: Datastore, change: str) -> None:
    before = take(source, datastore).digest
    if change == "name":
        (source / "a.txt").rename(source / "c.txt")
    elif change == "content":
        (source / "sub" / "b.txt").write_text("B")
    else:
        (source / "sub" / "b.txt").rename(source / "b.txt")
    assert take(source, datastore).digest != before


def test_caches_are_left_out(source: Path, datastore: Datastore) -> None:
    before = take(source, datastore)
    for name in ("__pycache__/x.pyc", ".git/config", "sub/.ipynb_checkpoints/b", "y.pyc", ".DS_Store"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("cache")
    assert take(source, datastore) == before


def test_nothing_to_copy(tmp_path: Path, datastore: Datastore) -> None:
    (tmp_path / "empty" / "__pycache__").mkdir(parents=True)
    for path in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(InvalidDocument, match="holds no file"):
            take(path, datastore)
