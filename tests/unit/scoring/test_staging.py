"""Staging: what is brought, what is used where it lies, per-file errors, ahead of time, within a bounded disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from prefect_batch.scoring.errors import JobReleased
from prefect_batch.scoring.items import Item, Piece
from prefect_batch.scoring.staging import Budget, Staging, ahead
from prefect_batch.scoring.storage import Folder


@pytest.fixture
def remote() -> Iterator[Folder]:
    folder = Folder(f"memory://{uuid4().hex}")
    yield folder
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def put(folder: Folder, *names: str) -> list[Item]:
    for name in names:
        folder.put(name, name.encode())
    return [Item(name, name, 0, len(name.encode())) for name in names]


def write_names(names: list[str], targets: list[Path], limit: int, stopped: object) -> list[Exception | None]:
    """The `fetch` of a storage whose files hold their own names."""
    for name, target in zip(names, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(name)
    return [None] * len(names)


def test_files_of_a_local_folder_stay_where_they_are(tmp_path: Path, scratch: Path) -> None:
    folder = Folder(str(tmp_path / "data"))
    staged = Staging([folder], scratch, unchanged=True).stage(put(folder, "x/a.csv"))
    assert [(item.path, item.name, item.file) for item in staged.items] == [
        (str(tmp_path / "data/x/a.csv"), "x/a.csv", "x/a.csv")
    ]
    staged.give_back()
    assert not scratch.exists() and folder.exists("x/a.csv")


def test_remote_files_come_under_their_own_names_and_go_again(remote: Folder, scratch: Path) -> None:
    names = ["a b.csv", "x/a.csv", "y/a.csv", "#1 [2] %20?.txt", "ünï.txt"]
    staged = Staging([remote], scratch, unchanged=True).stage(put(remote, *names))
    assert [item.file for item in staged.items] == names
    assert [Path(item.path).name for item in staged.items] == [name.split("/")[-1] for name in names]
    assert [Path(item.path).read_text() for item in staged.items] == names
    staged.give_back()
    assert list(scratch.rglob("*")) == []


def test_keys_that_are_no_paths_stay_inside(remote: Folder, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Object stores know names only, and `../x` is one."""
    monkeypatch.setattr(remote, "fetch", write_names)
    names = ["../../x", "/x", "a//x", "a/x", "./x"]
    staged = Staging([remote], scratch, unchanged=False).stage([Item(name, name) for name in names])
    assert [Path(item.path).read_text() for item in staged.items] == names
    assert all(Path(item.path).resolve().is_relative_to(scratch) for item in staged.items)


def test_a_key_that_others_have_as_their_folder(remote: Folder, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "fetch", write_names)
    names = ["x.csv", "x.csv/a.csv", "x.csv/a.csv/b.csv"]
    staged = Staging([remote], scratch, unchanged=False).stage([Item(name, name) for name in names])
    assert [Path(item.path).read_text() for item in staged.items] == names
    assert [Path(item.path).name for item in staged.items] == ["x.csv", "a.csv", "b.csv"]


def test_an_item_that_cannot_be_brought_is_its_own_error(remote: Folder, scratch: Path) -> None:
    items = put(remote, "a", "bb", "ccc")
    remote.remove("bb")
    staged = Staging([remote], scratch, unchanged=True).stage(items)
    assert [item.name for item in staged.items] == ["a", "ccc"]
    assert [(error.items, error.error_type) for error in staged.errors] == [(["bb"], "FileNotFoundError")]


@pytest.mark.parametrize("unchanged", [True, False])
def test_a_file_that_changed_since_it_was_planned(
    remote: Folder, tmp_path: Path, scratch: Path, unchanged: bool
) -> None:
    local = Folder(str(tmp_path / "data"))
    for folder in (remote, local):
        items = put(folder, "a", "bb")
        folder.put("bb", b"b")
        staged = Staging([folder], scratch, unchanged).stage(items)
        if unchanged:
            assert [error.items for error in staged.errors] == [["bb"]]
            assert "has 1 bytes, and had 2 when the job was planned" in staged.errors[0].message
        else:
            assert [item.name for item in staged.items] == ["a", "bb"]


@pytest.mark.parametrize("where", ["local", "remote"])
def test_pieces_are_files_of_their_own(remote: Folder, tmp_path: Path, scratch: Path, where: str) -> None:
    folder = remote if where == "remote" else Folder(str(tmp_path / "data"))
    folder.put("in/big.csv", b"x,y\n1,a\n2,b\n3,c\n")
    items = [
        Item("in/big.csv", "in/big.csv", 0, 8, Piece(4, 12, 0, 2, 4), 16),
        Item("in/big.csv", "in/big.csv", 0, 8, Piece(12, 16, 2, 1, 4), 16),
    ]
    staged = Staging([folder], scratch, unchanged=False).stage(items)
    assert [Path(item.path).read_text() for item in staged.items] == ["x,y\n1,a\n2,b\n", "x,y\n3,c\n"]
    assert [(Path(item.path).name, item.name, item.file, item.first_row) for item in staged.items] == [
        ("big.rows-0-1.csv", "in/big.csv rows 0-1", "in/big.csv", 0),
        ("big.rows-2-2.csv", "in/big.csv rows 2-2", "in/big.csv", 2),
    ]
    folder.put("in/big.csv", b"x,y\n1,a\n2,b\n3,c\n4,d\n")
    again = Staging([folder], scratch, unchanged=False).stage(items)
    assert [error.items for error in again.errors] == [["in/big.csv rows 0-1"], ["in/big.csv rows 2-2"]]


def test_a_long_name_leaves_room_for_the_rows(remote: Folder, scratch: Path) -> None:
    name = "ü" * 120 + ".csv"
    remote.put(name, b"x\n1\n")
    staged = Staging([remote], scratch, unchanged=True).stage([Item(name, name, 0, 4, Piece(2, 4, 0, 1, 2), 4)])
    assert staged.errors == [] and Path(staged.items[0].path).read_bytes() == b"x\n1\n"


def test_the_next_is_staged_while_one_is_used(remote: Folder, scratch: Path, eventually: Callable[..., object]) -> None:
    batches = [[item] for item in put(remote, "a", "b", "c")]
    staging = Staging([remote], scratch, unchanged=True)
    seen: list[str] = []
    with closing(ahead(staging, batches, lambda batch: batch)) as upcoming:
        for batch, staged in upcoming:
            left = 3 - len(seen)
            eventually(lambda: len([p for p in scratch.rglob("*") if p.is_file()]) == min(2, left))  # noqa: B023
            seen.append(Path(staged.items[0].path).read_text())
            assert batch[0].name == seen[-1]
    assert seen == ["a", "b", "c"]
    assert list(scratch.rglob("*")) == []


@pytest.mark.parametrize("budget", [100, 1])
def test_who_ends_early_leaves_nothing(remote: Folder, scratch: Path, budget: int) -> None:
    """Also where the next mini-batch waits for the room that this one has."""
    batches = [[item] for item in put(remote, "a", "b", "c")]
    staging = Staging([remote], scratch, unchanged=True, budget=budget)
    with closing(ahead(staging, batches, lambda batch: batch)) as upcoming:
        next(upcoming)
    assert list(scratch.rglob("*")) == []
    with pytest.raises(ZeroDivisionError), closing(ahead(staging, batches, lambda batch: batch)) as upcoming:
        for _ in upcoming:
            raise ZeroDivisionError
    assert list(scratch.rglob("*")) == []
    assert staging._budget.free == budget  # pyright: ignore[reportPrivateUsage]


def test_once_stopped_nothing_more_arrives(
    remote: Folder, scratch: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., object]
) -> None:
    """What is under way has ended when stop() returns: nothing is put into a folder that is then removed."""
    staging, began, ended = Staging([remote], scratch, unchanged=True), threading.Event(), threading.Event()

    def fetched(names: list[str], targets: list[Path], limit: int, stopped: Callable[[], bool]) -> list[Exception]:
        began.set()
        eventually(stopped)
        ended.set()
        return [JobReleased() for _ in names]

    monkeypatch.setattr(remote, "fetch", fetched)
    items = put(remote, "a")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(staging.stage, items)
        assert began.wait(30)
        staging.stop()
        assert ended.is_set() and isinstance(future.exception(30), JobReleased)
    with pytest.raises(JobReleased):
        staging.stage([Item("a", "a", 0, 1, Piece(0, 1, 0, 1), 1)])
    assert staging._budget.free == staging._budget.total  # pyright: ignore[reportPrivateUsage]


def test_the_disk_is_bounded(remote: Folder, scratch: Path) -> None:
    """Two mini-batches do not fit at once: the second waits until the first is given back."""
    staging = Staging([remote], scratch, unchanged=True, budget=10)
    first, second = (staging.stage(items) for items in (put(remote, "a" * 6), [])), put(remote, "b" * 6)
    held, _ = first
    arrived = threading.Event()

    def more() -> None:
        staged = staging.stage(second)
        arrived.set()
        staged.give_back()

    thread = threading.Thread(target=more)
    thread.start()
    assert not arrived.wait(0.2)
    held.give_back()
    assert arrived.wait(30)
    thread.join()


def test_a_budget_serves_in_order_and_lets_the_largest_through(eventually: Callable[..., object]) -> None:
    budget, order = Budget(10), list[str]()
    assert budget.take(4) == 4

    def ask(name: str, amount: int) -> threading.Thread:
        def take() -> None:
            taken = budget.take(amount)
            order.append(name)
            budget.give_back(taken)

        before = len(budget._waiting)  # pyright: ignore[reportPrivateUsage]
        thread = threading.Thread(target=take)
        thread.start()
        eventually(lambda: len(budget._waiting) > before or not thread.is_alive())  # pyright: ignore[reportPrivateUsage]
        return thread

    threads = [ask("more than all", 1000), ask("little", 1)]
    assert order == []
    budget.give_back(4)
    for thread in threads:
        thread.join(30)
    assert order == ["more than all", "little"] and budget.free == 10
