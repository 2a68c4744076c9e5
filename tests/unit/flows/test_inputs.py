"""Inputs and outputs: what a pointer means, what is listed, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefect_batch.flows import inputs
from prefect_batch.scoring.errors import AlreadyExists, InvalidDocument, NoItems, NotFound


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def listed(folder: Path) -> list[str]:
    root, names = inputs.list_items(str(folder))
    assert root == str(folder)
    return list(names)


def test_folders_are_walked_in_the_order_of_names(tmp_path: Path) -> None:
    fill(tmp_path, "b.csv", "a/2.csv", "a/10.csv", "c/d/e.csv", "A.csv", "a.csv")
    assert listed(tmp_path) == ["A.csv", "a/10.csv", "a/2.csv", "a.csv", "b.csv", "c/d/e.csv"]


def test_hidden_files_and_markers_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "_SUCCESS", ".hidden", "a.csv", "_temporary/x.csv", ".git/y", "sub/_committed", "sub/b_.csv")
    assert listed(tmp_path) == ["a.csv", "sub/b_.csv"]


def test_one_file(tmp_path: Path) -> None:
    fill(tmp_path, "_a.csv", "b.csv")
    root, names = inputs.list_items(str(tmp_path / "_a.csv"))
    assert (root, list(names)) == (str(tmp_path), ["_a.csv"])


def test_links_back_up_end(tmp_path: Path) -> None:
    fill(tmp_path, "a/x.csv")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert listed(tmp_path) == ["a/x.csv", "b/x.csv"]


def test_links_are_followed_and_dangling_ones_are_items(tmp_path: Path) -> None:
    elsewhere = fill(tmp_path / "elsewhere", "data.csv", "sub/more.csv")
    folder = fill(tmp_path / "in", "a.csv")
    (folder / "file").symlink_to(elsewhere / "data.csv")
    (folder / "folder").symlink_to(elsewhere / "sub")
    (folder / "gone").symlink_to(elsewhere / "gone")
    (folder / "loop").symlink_to("loop")
    assert listed(folder) == ["a.csv", "file", "folder/more.csv", "gone", "loop"]


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "a.csv")
    os.mkfifo(tmp_path / "pipe")
    assert listed(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("names", [(), ("_SUCCESS",), (".x/y", "_z")])
def test_an_input_without_items_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    fill(tmp_path, *names)
    with pytest.raises(NoItems, match="holds no file to score: point the job at a folder with at least one file"):
        listed(tmp_path)


def test_an_empty_sub_folder_is_fine(tmp_path: Path) -> None:
    fill(tmp_path, "a.csv")
    (tmp_path / "empty").mkdir()
    assert listed(tmp_path) == ["a.csv"]


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(inputs.WORKING_DIRECTORY, "/srv/place")
    monkeypatch.setenv("HOME", "/home/me")
    assert inputs.resolve("/a/b/../c/") == "/a/c"
    assert inputs.resolve("file:///a/b") == "/a/b"
    assert inputs.resolve("data/x") == "/srv/place/data/x"
    assert inputs.resolve("../x") == "/srv/x"
    assert inputs.resolve("~/x") == "/home/me/x"


def test_a_relative_path_without_a_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(inputs.WORKING_DIRECTORY, raising=False)
    with pytest.raises(
        InvalidDocument, match="'data/x' is relative, and this worker was not told to what: give an abs"
    ):
        inputs.resolve("data/x")


@pytest.mark.parametrize("given", ["s3://bucket/x", "https://x/y", "azureml:data:1", "azureml://datastores/x"])
def test_what_is_not_local(given: str) -> None:
    with pytest.raises(InvalidDocument, match="is not a local path"):
        inputs.resolve(given)


def test_an_input_must_be_there(tmp_path: Path) -> None:
    assert inputs.resolve_input(str(tmp_path)) == str(tmp_path)
    with pytest.raises(NotFound, match=r"inputs: '.*/nothing' does not exist \(looked for /"):
        inputs.resolve_input(f"{tmp_path}/nothing")
    for nothing in (None, ""):
        with pytest.raises(InvalidDocument, match="inputs: nothing was given: name the data"):
            inputs.resolve_input(nothing)


def test_one_input_of_any_name() -> None:
    assert inputs.single("inputs", {"anything": "x"}) == "x"
    assert inputs.single("inputs", {}) is None
    with pytest.raises(InvalidDocument, match=r"^inputs: a model deployment takes one, 2 were given \(a, b\)$"):
        inputs.single("inputs", {"b": "1", "a": "2"})


def test_an_output_that_is_free(tmp_path: Path) -> None:
    fill(tmp_path, "out/other.csv")
    inputs.check_output(str(tmp_path / "new"), "predictions.csv")
    inputs.check_output(str(tmp_path / "new"), None)
    inputs.check_output(str(tmp_path / "out"), "predictions.csv")


def test_an_output_that_is_taken(tmp_path: Path) -> None:
    fill(tmp_path, "out/predictions.csv")
    with pytest.raises(
        AlreadyExists, match=r"^outputs: .*/out/predictions.csv exists already and is not overwritten: name"
    ):
        inputs.check_output(str(tmp_path / "out"), "predictions.csv")
    with pytest.raises(AlreadyExists, match="/out is not empty"):
        inputs.check_output(str(tmp_path / "out"), None)
    with pytest.raises(InvalidDocument, match=r"predictions\.csv is a file: name a folder"):
        inputs.check_output(str(tmp_path / "out" / "predictions.csv"), "x")


@pytest.mark.parametrize("written", ["in", "in/out", "in/a/b"])
def test_an_output_inside_the_input_is_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(InvalidDocument, match="keep them apart"):
        inputs.check_inside(str(tmp_path / "in"), [str(tmp_path / "elsewhere"), str(tmp_path / written)])


def test_an_output_inside_the_input_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(InvalidDocument, match="keep them apart"):
        inputs.check_inside(str(tmp_path / "link"), [str(tmp_path / "in" / "out")])
    with pytest.raises(InvalidDocument, match="keep them apart"):
        inputs.check_inside(str(tmp_path / "in"), [str(tmp_path / "link" / "out")])


def test_an_output_beside_the_input_is_fine(tmp_path: Path) -> None:
    inputs.check_inside(str(tmp_path / "in"), [str(tmp_path / "in-out"), str(tmp_path)])
