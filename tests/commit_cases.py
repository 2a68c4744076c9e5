"""Two attempts at one commit, for any storage: who stands, and what is left of the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.datastore import open_folder
from prefect_batch.flows import commit as commits
from prefect_batch.flows.commit import Staged, commit, read_result
from prefect_batch.flows.locations import Location
from prefect_batch.flows.step_result import StepResult
from prefect_batch.scoring.errors import AlreadyExists, StepFailed


class Place:
    """A step's record and two outputs, `a` and `b`, below a reference.

    Args:
        root: reference of a folder.
        scratch: local folder for what is staged; beside the outputs if they are local.
    """

    def __init__(self, root: str, scratch: Path) -> None:
        self.root, self.scratch = root, scratch
        self.record = open_folder(f"{root}/record")

    def staged(self, attempt: str, names: list[str]) -> dict[str, Staged]:
        """Outputs of an attempt: each file holds the attempt's name."""
        found: dict[str, Staged] = {}
        for output in "ab":
            path = self.scratch / f".prefect-batch-{attempt}-{output}" / output
            for name in names:
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).write_text(attempt)
            found[output] = Staged(path, self.location(output), is_file=False)
        return found

    def location(self, output: str) -> Location:
        reference = f"{self.root}/out/{output}"
        return Location(given=None, url=open_folder(reference).url, reference=reference)

    def commit(self, attempt: str, names: list[str], run: int = 1) -> StepResult:
        result = StepResult(name="s", state="Completed", message=attempt)
        return commit(self.record, result, self.staged(attempt, names), run)

    def held(self) -> dict[str, str]:
        """Every file of both outputs, with its content."""
        folder = open_folder(f"{self.root}/out")
        return {name: folder.read(name).decode() for name in folder.files() if ".prefect-batch-" not in name}


def only_one_stands(at: Place) -> None:
    """Many at once."""
    results: list[StepResult] = []
    start = threading.Barrier(6, timeout=60)

    def attempt(number: int) -> None:
        start.wait()
        results.append(at.commit(f"attempt-{number}", ["x", "d/y", f"own-{number}"]))

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = {result.message for result in results}
    assert len(results) == 6 and read_result(at.record) == results[0]
    assert set(at.held().values()) == {winner} and len(at.held()) == 6


def one_that_comes_back(at: Place, monkeypatch: pytest.MonkeyPatch, pause: str) -> None:
    """An attempt that was thought dead goes on, after another of a later run has gone past it.

    Args:
        at: where.
        monkeypatch: of the test.
        pause: where it sleeps: the method of a commit that it had just come to.
    """
    arrived, go_on = threading.Event(), threading.Event()
    method: Callable[..., Any] = getattr(commits._Commit, pause)  # pyright: ignore[reportPrivateUsage]
    slow: list[threading.Thread] = []

    def sleeping(self: Any, *arguments: Any) -> Any:
        if threading.current_thread() in slow and not arrived.is_set():
            arrived.set()
            assert go_on.wait(60)
        return method(self, *arguments)

    monkeypatch.setattr(commits._Commit, pause, sleeping)  # pyright: ignore[reportPrivateUsage]
    errors: list[Exception] = []

    def late() -> None:
        try:
            at.commit("late", ["x", "only-late"], run=1)
        except Exception as error:
            errors.append(error)

    slow.append(threading.Thread(target=late))
    slow[0].start()
    assert arrived.wait(60)
    assert at.commit("second", ["x", "only-second"], run=2).message == "second"
    go_on.set()
    slow[0].join(60)
    assert [type(error) for error in errors] == [StepFailed]
    result = read_result(at.record)
    assert result is not None and result.message == "second"
    assert at.held() == {f"{output}/{name}": "second" for output in "ab" for name in ("x", "only-second")}


def one_that_was_killed(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an attempt had put in place when it died is replaced."""

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(commits._Commit, "_end", die)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(Killed):
            at.commit("first", ["x", "only-first"])
    assert read_result(at.record) is None and set(at.held().values()) == {"first"}
    for output in "ab":
        commits.check_free(at.record, output, at.location(output), is_file=False)
    assert at.commit("second", ["x"]).message == "second"
    assert at.held() == {"a/x": "second", "b/x": "second"}


def what_is_not_ours_stays(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a step whose second output is taken nothing is left, and what was there is never taken for its own."""
    taken = open_folder(f"{at.root}/out/b").make()

    def appears(*_: Any) -> None:
        taken.put("x", b"mine")

    for late in (False, True):
        with monkeypatch.context() as patch:
            if late:  # after the look at the place
                taken.remove("x")
                patch.setattr(commits, "_check_free", appears)
            else:
                appears()
            with pytest.raises(AlreadyExists, match=r"outputs\.b: .*/out/b exists already and is not overwritten"):
                at.commit(f"late-{late}", ["w", "x"])
        assert at.held() == {"b/x": "mine"} and read_result(at.record) is None
        with pytest.raises(AlreadyExists):
            commits.check_free(at.record, "b", at.location("b"), is_file=False)


def one_that_ends_between_two_looks(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another attempt puts in place after the entries were read is not taken for a stranger's."""
    method: Callable[..., Any] = commits._check_free  # pyright: ignore[reportPrivateUsage]
    again = Place(f"{at.root}/again", at.scratch / "again")
    faster: list[Place] = []

    def after_another(*arguments: Any) -> None:
        while faster:
            faster.pop().commit("fast", ["x"])
        method(*arguments)

    monkeypatch.setattr(commits, "_check_free", after_another)
    faster.append(at)
    assert at.commit("slow", ["x"]).message == "fast"
    faster.append(again)
    commits.check_free(again.record, "a", again.location("a"), is_file=False)
    assert at.held() == again.held() == {"a/x": "fast", "b/x": "fast"}


def two_jobs_with_one_folder(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have found it free; nothing of one that ends lies among the files of the other."""
    other = Place(at.root, at.scratch / "other")
    other.record = open_folder(f"{at.root}/record-of-the-other")
    method: Callable[..., Any] = commits._Commit._place  # pyright: ignore[reportPrivateUsage]
    begun = threading.Event()

    def place(self: Any, *arguments: Any) -> None:
        if not begun.is_set():
            begun.set()
            other.commit("other", ["d/other"])
        method(self, *arguments)

    monkeypatch.setattr(commits._Commit, "_place", place)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(AlreadyExists):
        at.commit("mine", ["d/mine"])
    assert at.held() == {"a/d/other": "other", "b/d/other": "other"} and read_result(at.record) is None
