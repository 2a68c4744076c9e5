"""What a watch remembers, and when a file is complete."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from prefect_batch.flows import arrivals, watch_ledger
from prefect_batch.flows.arrivals import Arrivals, in_batches
from prefect_batch.flows.inputs import Wanted
from prefect_batch.flows.watch_ledger import Arrival, Batch, Ledger
from prefect_batch.scoring.storage import Folder

ALL = Wanted(None, [], [])


def files(*names: str) -> list[Arrival]:
    return [Arrival(name=name, size=1, stamp="1") for name in names]


def names(found: list[Arrival]) -> list[str]:
    return [file.name for file in found]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_file_is_complete_when_it_has_settled(tmp_path: Path):
    clock = Clock()
    place = Arrivals(Folder(str(tmp_path)), ALL, settle=10, clock=clock)
    assert place.look(lambda _: True) == []
    assert not place.settling
    (tmp_path / "slow.csv").write_text("a")
    (tmp_path / "quick.csv").write_text("a")
    (tmp_path / ".hidden").write_text("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert place.look(lambda _: True) == []
    clock.now = 9.9
    (tmp_path / "slow.csv").write_text("ab")
    assert place.look(lambda _: True) == []
    clock.now = 10.1
    assert names(place.look(lambda _: True)) == ["quick.csv"]
    assert place.settling
    clock.now = 20
    assert names(place.look(lambda file: file.name != "quick.csv")) == ["slow.csv"]
    assert not place.settling


def test_without_settling_one_look_is_enough(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.csv").write_text("")
    (tmp_path / "b.txt").write_text("")
    place = Arrivals(Folder(str(tmp_path)), Wanted(None, ["*.csv"], []), settle=0)
    assert names(place.look(lambda _: True)) == ["a/x.csv"]
    assert Arrivals(Folder(str(tmp_path / "not-yet")), ALL, settle=0).look(lambda _: True) == []


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch):
    found = files(*"abcde")
    assert list(map(names, in_batches(found, 2))) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(in_batches([], 2)) == []
    monkeypatch.setattr(arrivals, "NAMES_BYTES", 20)
    assert list(map(names, in_batches(found, 9))) == [["a", "b"], ["c", "d"], ["e"]]


def test_a_file_is_in_one_batch(tmp_path: Path):
    ledger = Ledger(Folder(str(tmp_path)))
    first = ledger.record(files("a", "b"))
    assert first is not None and first.number == 0
    second = ledger.record(files("b", "c"))
    assert second is not None and names(second.files) == ["c"]
    assert ledger.record(files("a", "b", "c")) is None
    assert ledger.is_new(Arrival(name="a", size=2, stamp="1"))
    assert ledger.is_new(Arrival(name="a", size=1, stamp="2"))


def test_what_is_not_done_is_left_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = Folder(str(tmp_path))
    ledger = Ledger(folder)
    done, left = ledger.record(files("a")), ledger.record(files("b"))
    assert done is not None and left is not None
    ledger.finish(done, ["job"])
    other = Ledger(folder)
    other.refresh()
    assert other.left() == []  # its watcher is alive
    monkeypatch.setattr(watch_ledger, "TAKEN_OVER", timedelta(0))
    assert [batch.id for batch in other.left()] == [left.id]
    ledger.finish(left, [])
    assert other.left() == []
    other.finish(left, [])  # by both: no harm


def test_of_a_process_that_is_gone(tmp_path: Path):
    node = f"{socket.gethostname()}-{2**22 + 1}"  # above the highest process id
    batch = Batch(number=0, files=files("a"), watcher=uuid4(), node=node)
    assert batch.is_left_to(uuid4())
    assert not batch.model_copy(update={"node": "another-machine-1"}).is_left_to(uuid4())


def test_many_files_are_remembered_in_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A watch that starts reads one file of digests and the batches of the last block."""
    monkeypatch.setattr(watch_ledger, "BLOCK", 10)
    folder = Folder(str(tmp_path))
    ledger = Ledger(folder)
    for number in range(57):
        batch = ledger.record([Arrival(name=f"{number}/{at}", size=at, stamp="x") for at in range(200)])
        assert batch is not None
        if number not in (43, 56):
            ledger.finish(batch, [])
    assert folder.files().count("watch.json") == 0
    assert (folder / "seen").names() == ["000002", "000003"]
    assert (tmp_path / "seen" / "000003").stat().st_size < 57 * 200 * 16
    read: list[str] = []
    monkeypatch.setattr(Folder, "read", lambda self, name, _read=Folder.read: read.append(name) or _read(self, name))
    again = Ledger(folder)
    again.refresh()
    assert len(read) == 1 + 17 + 1  # digests, the batches after them, and that there is no more
    assert [batch.number for batch in again._pending.values()] == [43, 56]  # pyright: ignore[reportPrivateUsage]
    assert again.record([Arrival(name=f"{n}/{n}", size=n, stamp="x") for n in range(57)]) is None
    assert again.record(files("new")) is not None


def test_watchers_at_once_never_share_a_file(tmp_path: Path):
    folder = Folder(str(tmp_path))
    found = files(*(f"{number:03d}" for number in range(200)))
    made: list[Batch] = []
    start = threading.Barrier(4, timeout=60)

    def run() -> None:
        ledger = Ledger(folder)
        start.wait()
        for at in range(0, 200, 8):
            batch = ledger.record(found[at : at + 8])
            if batch is not None:
                made.append(batch)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(file.name for batch in made for file in batch.files) == names(found)
    assert sorted(batch.number for batch in made) == list(range(len(made)))
