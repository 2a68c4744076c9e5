"""Outputs on their way to their places, on local disks."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import commit_cases
import pytest
from commit_cases import Place

from prefect_batch.flows import commit as commits
from prefect_batch.flows import placing
from prefect_batch.flows.commit import Staged, commit, read_result
from prefect_batch.flows.locations import Location
from prefect_batch.flows.placing import files_of, place_locally
from prefect_batch.flows.step_result import StepResult
from prefect_batch.scoring.errors import AlreadyExists, StepFailed


@pytest.fixture
def at(tmp_path: Path) -> Place:
    return Place(str(tmp_path), tmp_path / "out")


def test_only_one_of_many_attempts_stands(at: Place) -> None:
    commit_cases.only_one_stands(at)


@pytest.mark.parametrize("pause", ["_place", "_end"])
def test_an_attempt_that_comes_back(at: Place, monkeypatch: pytest.MonkeyPatch, pause: str) -> None:
    commit_cases.one_that_comes_back(at, monkeypatch, pause)


def test_an_attempt_that_was_killed(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_cases.one_that_was_killed(at, monkeypatch)


def test_what_is_not_ours_stays(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_cases.what_is_not_ours_stays(at, monkeypatch)


def test_one_that_ends_between_two_looks(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_cases.one_that_ends_between_two_looks(at, monkeypatch)


def test_two_jobs_with_one_folder(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_cases.two_jobs_with_one_folder(at, monkeypatch)


def test_an_attempt_of_a_process_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    code = f"""
    import os, sys
    from pathlib import Path
    sys.path.insert(0, {str(Path(commit_cases.__file__).parent)!r})
    from commit_cases import Place
    from prefect_batch.flows import commit
    commit._Commit._end = lambda self: os._exit(3)
    Place({str(tmp_path)!r}, Path({str(tmp_path / "out")!r})).commit("first", ["x", "y"])
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False).returncode == 3
    at = Place(str(tmp_path), tmp_path / "out")
    assert len(at.held()) == 4
    assert at.commit("second", ["x"]).message == "second"
    assert at.held() == {"a/x": "second", "b/x": "second"}


def test_the_last_entry_counts_also_without_done_json(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    done = at.commit("first", ["x"])
    at.record.remove("done.json")
    assert read_result(at.record) == done and at.record.exists("done.json")
    assert at.commit("second", ["x"]) == done


def one(tmp_path: Path, name: str, staged: Path, is_file: bool) -> StepResult:
    target = tmp_path / "final" / name
    location = Location(given=None, url=str(target), reference=str(target))
    record = commits.Folder(str(tmp_path / "record"))
    return commit(record, StepResult(name="s", state="Completed"), {name: Staged(staged, location, is_file)}, 1)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1\n")
    assert one(tmp_path, "x.csv", tmp_path / "x.csv", True).outputs["x.csv"].files == [("x.csv", 2)]
    assert (tmp_path / "final" / "x.csv").read_text() == "1\n" and not (tmp_path / "x.csv").exists()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "final").mkdir()
    for path in (tmp_path / "x.csv", tmp_path / "final" / "x.csv"):
        path.write_text(path.parent.name)
    with pytest.raises(AlreadyExists):
        one(tmp_path, "x.csv", tmp_path / "x.csv", True)
    assert (tmp_path / "final" / "x.csv").read_text() == "final"


def test_empty_folders_and_an_empty_place(tmp_path: Path) -> None:
    (tmp_path / "staged" / "empty" / "er").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "out").symlink_to(tmp_path / "elsewhere")
    assert one(tmp_path, "out", tmp_path / "staged", False).outputs["out"].files == []
    assert (tmp_path / "elsewhere" / "empty" / "er").is_dir() and (tmp_path / "final" / "out").is_symlink()


def test_an_output_is_whole_in_itself(tmp_path: Path) -> None:
    staged, outside = tmp_path / "staged", tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "f").write_text("f")
    (outside / "file").write_text("outside")
    (staged / "models" / "1").mkdir(parents=True)
    (staged / "models" / "1" / "m").write_text("own")
    links = {"file": outside / "file", "folder": outside / "folder", "relative": "models/1", "chain": "latest"}
    for name, target in {**links, "latest": staged / "models" / "1"}.items():
        (staged / name).symlink_to(target)
    os.mkfifo(staged / "pipe")
    result = one(tmp_path, "out", staged, False)
    (outside / "file").write_text("changed")
    final = tmp_path / "final" / "out"
    assert not any(path.is_symlink() for path in final.rglob("*")) and not (final / "pipe").exists()
    held = {path.relative_to(final).as_posix(): path.read_text() for path in final.rglob("*") if path.is_file()}
    own = {f"{folder}/m": "own" for folder in ("chain", "latest", "models/1", "relative")}
    assert held == {**own, "file": "outside", "folder/f": "f"}
    assert commits.stands(result)


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        (b"link", "/nowhere", "the link 'link' in it leads to no data: No such file or directory"),
        (b"link", "link", "the link 'link' in it leads to no data: it leads to itself"),
        (b"link", ".", "the link 'link' in it leads to no data: it leads to itself"),
        (b"\xff", None, "the name b'\\xff' in it is not UTF-8"),
    ],
)
def test_what_no_output_can_hold(tmp_path: Path, name: bytes, target: str | None, message: str) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    try:
        path = staged / os.fsdecode(name)
        path.touch() if target is None else path.symlink_to(target)
    except OSError:
        pytest.skip("this disk takes no such name")
    with pytest.raises(StepFailed) as failure:
        one(tmp_path, "out", staged, False)
    assert str(failure.value).startswith(f"outputs.out: {message}")


def test_an_empty_folder_that_was_removed_does_not_stand(tmp_path: Path) -> None:
    (tmp_path / "staged").mkdir()
    result = one(tmp_path, "out", tmp_path / "staged", False)
    assert commits.stands(result)
    (tmp_path / "final" / "out").rmdir()
    assert not commits.stands(result)


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is but one disk")
    with placing.box(shm / "prefect-batch-test") as folder:
        yield folder


@pytest.mark.parametrize("is_file", [False, True])
def test_from_one_disk_to_another(tmp_path: Path, other_disk: Path, is_file: bool) -> None:
    staged = other_disk / "staged"
    if is_file:
        staged.write_text("x")
    else:
        (staged / "d").mkdir(parents=True)
        (staged / "d" / "x").write_text("x")
    expected = files_of(staged)
    place_locally(staged, tmp_path / "out" / "final", is_file, [], [])
    assert files_of(tmp_path / "out" / "final") == expected
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["final"] and not staged.exists()


def test_a_place_that_a_disk_is_mounted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "mounted"
    target.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == target)
    with placing.box(target) as hidden:
        assert hidden.parent == target
        (hidden / "out" / "d").mkdir(parents=True)
        (hidden / "out" / "d" / "x").write_text("x")
        inode = target.stat().st_ino
        place_locally(hidden / "out", target, False, [], [])
    assert files_of(target) == [("d/", None), ("d/x", 1)] and target.stat().st_ino == inode
    with placing.box(target) as hidden:
        (hidden / "out").mkdir()
        with pytest.raises(FileExistsError):
            place_locally(hidden / "out", target, False, [], [])
