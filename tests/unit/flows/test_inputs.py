"""Inputs: what a pointer means, which files count and in what order, what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from prefect_batch.flows import inputs, locations
from prefect_batch.flows.inputs import Input, check_apart, find_input, model_inputs
from prefect_batch.scoring.errors import InvalidDocument, NoItems, NotFound
from prefect_batch.scoring.storage import Folder


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place on a disk, and one on other storage."""
    yield str(tmp_path / "in") if request.param == "local" else f"memory://{uuid4().hex}"
    fsspec.filesystem("memory").store.clear()


def fill(root: str | Path, *names: str) -> str:
    for name in names:
        Folder(str(root)).put(name, name.encode())
    return str(root)


def found(data: Any, **more: Any) -> Input:
    spec, given, _ = model_inputs({"data": {"path": data, **more} if more else data})
    return find_input(spec, given, None)


def listed(data: Any, **more: Any) -> list[str]:
    return [item.name for item in found(data, **more).items()]


def test_folders_are_walked_in_the_order_of_names(root: str) -> None:
    fill(root, "b.csv", "a/2.csv", "a/10.csv", "c/d/e.csv", "A.csv", "a.csv")
    assert listed(root) == ["A.csv", "a/10.csv", "a/2.csv", "a.csv", "b.csv", "c/d/e.csv"]


def test_hidden_files_and_markers_are_passed_over(root: str) -> None:
    fill(root, "_SUCCESS", ".hidden", "a.csv", "_temporary/x.csv", ".git/y", "sub/_committed", "sub/b_.csv")
    assert listed(root) == ["a.csv", "sub/b_.csv"]


def test_one_file_even_a_hidden_one(root: str) -> None:
    fill(root, "x/_a.csv", "x/b.csv")
    items = list(found(f"{root}/x/_a.csv").items())
    assert [(item.name, item.path, item.size) for item in items] == [("_a.csv", "_a.csv", 8)]


def test_sizes_come_with_the_listing(root: str) -> None:
    fill(root, "a", "x/bcd")
    assert [(item.path, item.size) for item in found(root).items()] == [("a", 1), ("x/bcd", 5)]


def test_links_back_up_end(tmp_path: Path) -> None:
    fill(tmp_path, "a/x.csv")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert listed(str(tmp_path)) == ["a/x.csv", "b/x.csv"]


def test_links_are_followed_and_dangling_ones_are_items(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "data.csv", "sub/more.csv")
    folder = Path(fill(tmp_path / "in", "a.csv"))
    (folder / "file").symlink_to(tmp_path / "elsewhere" / "data.csv")
    (folder / "folder").symlink_to(tmp_path / "elsewhere" / "sub")
    (folder / "gone").symlink_to(tmp_path / "elsewhere" / "gone")
    (folder / "loop").symlink_to("loop")
    assert listed(str(folder)) == ["a.csv", "file", "folder/more.csv", "gone", "loop"]


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "a.csv")
    os.mkfifo(tmp_path / "pipe")
    assert listed(str(tmp_path)) == ["a.csv"]


@pytest.mark.parametrize("names", [(), ("_SUCCESS",), (".x/y", "_z")])
def test_an_input_without_items_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    fill(tmp_path, *names)
    with pytest.raises(NoItems, match="holds no file to score: point the job at one file at least"):
        listed(str(tmp_path))


def test_filters_that_leave_nothing_are_named(root: str) -> None:
    fill(root, "a.csv")
    with pytest.raises(NoItems, match="holds no file to score that include and exclude leave"):
        listed(root, include="*.parquet")


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"include": "*.csv"}, ["a.csv", "x/a.csv", "x/y/b.csv"]),
        ({"include": ["x/*.csv"]}, ["x/a.csv"]),
        ({"include": ["x/**"]}, ["x/a.csv", "x/c.txt", "x/y/b.csv"]),
        ({"exclude": ["*.csv"]}, ["x/c.txt"]),
        ({"include": ["*.csv", "*.txt"], "exclude": ["a.*"]}, ["x/c.txt", "x/y/b.csv"]),
        ({"exclude": ["x/**/*.csv"]}, ["a.csv", "x/c.txt"]),
        ({"include": "/a.csv"}, ["a.csv"]),
        ({"include": ["/*.csv", "/x/c.txt"]}, ["a.csv", "x/c.txt"]),
        ({"include": ["/x/c.txt", "/x/a.csv", "/gone", "/x", "/a.csv/b"], "exclude": ["*.txt"]}, ["x/a.csv"]),
    ],
)
def test_filters(root: str, filters: dict[str, Any], left: list[str]) -> None:
    fill(root, "a.csv", "x/a.csv", "x/c.txt", "x/y/b.csv")
    assert listed(root, **filters) == left


@pytest.mark.parametrize("few", [1, 3])
def test_files_by_their_names(root: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_FEW", few)  # asked for one by one, or looked for in a listing: the same
    odd = ["[a].csv", "b*?.csv", "x/c d.csv"]
    fill(root, *odd, "a.csv", "bb.csv", "x/[a].csv")
    assert listed(root, include=[inputs.name_pattern(name) for name in reversed(odd)]) == odd


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", ["a.csv"]),
        ("**/*.csv", ["a.csv", "x/a.csv", "x/y/b.csv"]),
        ("*/*.csv", ["x/a.csv"]),
        ("x/*", ["a.csv", "c.txt"]),
        ("x/?.csv", ["a.csv"]),
        ("[ax].csv", ["a.csv"]),
    ],
)
def test_globs(root: str, pattern: str, names: list[str]) -> None:
    fill(root, "a.csv", "x/a.csv", "x/c.txt", "x/y/b.csv")
    assert listed(f"{root}/{pattern}") == names


def test_patterns_take_no_time_to_speak_of(root: str) -> None:
    name = f"{'a' * 200}.csv"
    fill(root, name)
    assert listed(root, include="*a" * 20 + "*.csv") == [name]
    assert listed(root, include=["*a" * 20 + "b", "*.csv"]) == [name]
    for pattern in ("*[ab]" * 20 + "x", "**/" * 20 + "x"):
        with pytest.raises(InvalidDocument, match="too many stars"):
            listed(root, include=pattern)


def test_a_file_that_looks_like_a_glob_is_that_file(root: str) -> None:
    fill(root, "a[1].csv", "a1.csv", "what?.csv")
    assert listed(f"{root}/a[1].csv") == ["a[1].csv"]
    assert listed(f"{root}/what?.csv") == ["what?.csv"]


def test_a_file_on_a_web_server(http_files: Any) -> None:
    (http_files.folder / "a b").mkdir()
    (http_files.folder / "a b" / "c #100%.csv").write_text("x")
    url = f"{http_files.url}/a%20b/c%20%23100%25.csv"
    item = next(found(url).items())
    assert (item.name, item.size) == ("c #100%.csv", 1)
    assert found(url).places[0].location.open().read(item.path) == b"x"
    with pytest.raises(InvalidDocument, match="has a query, so that it names no file of a folder"):
        found(f"{url}?version=1")


def test_a_glob_that_matches_nothing(root: str) -> None:
    fill(root, "a.csv")
    with pytest.raises(NoItems, match="holds no file to score"):
        listed(f"{root}/*.parquet")
    with pytest.raises(NotFound, match=r"matches nothing: .*/nowhere is not a folder"):
        listed(f"{root}/nowhere/*.csv")


def test_several_places_are_told_apart_by_their_names(tmp_path: Path, root: str) -> None:
    fill(f"{root}/2024", "a.csv")
    fill(f"{root}/old/2024", "a.csv", "b.csv")
    fill(tmp_path, "one.csv")
    places = [f"{root}/2024", f"{root}/old/2024", str(tmp_path / "one.csv")]
    items = list(found(places).items())
    assert [(item.name, item.path, item.source) for item in items] == [
        ("2024/a.csv", "a.csv", 0),
        ("2024-2/a.csv", "a.csv", 1),
        ("2024-2/b.csv", "b.csv", 1),
        (f"{tmp_path.name}/one.csv", "one.csv", 2),
    ]
    assert [source.label for source in found(places).sources()] == ["2024", "2024-2", tmp_path.name]


def test_one_empty_place_among_several_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    fill(tmp_path / "b", "x.csv")
    assert listed([str(tmp_path / "a"), str(tmp_path / "b")]) == ["b/x.csv"]


def test_what_type_says_must_be_so(root: str) -> None:
    fill(root, "x/a.csv")
    assert listed(f"{root}/x", type="uri_folder") == listed(f"{root}/x/a.csv", type="uri_file") == ["a.csv"]
    with pytest.raises(InvalidDocument, match="is a folder, and type says uri_file: write type: uri_folder"):
        found(f"{root}/x", type="uri_file")
    with pytest.raises(InvalidDocument, match="is a file, and type says uri_folder: write type: uri_file"):
        found(f"{root}/x/a.csv", type="uri_folder")


def test_an_input_must_be_there(root: str) -> None:
    with pytest.raises(NotFound, match=r"^inputs: '.*/nothing' does not exist \(looked for "):
        found(f"{root}/nothing")


@pytest.mark.parametrize(
    "given", ["azureml:heart@latest", "azureml://datastores/lake/paths/x", "lake:x", "data:heart:1"]
)
def test_a_trial_run_knows_no_server(given: str) -> None:
    with pytest.raises(InvalidDocument, match="is kept by a server, and a trial run has none: give a path or a URL"):
        found(given)


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "data/a.csv")
    monkeypatch.setenv(locations.WORKING_DIRECTORY, str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("data", "./data/", "x/../data", "~/data", f"file://{tmp_path}/data"):
        assert found(given).url == f"{tmp_path}/data"
    monkeypatch.delenv(locations.WORKING_DIRECTORY)
    with pytest.raises(InvalidDocument, match="'data' is relative, and this worker was not told to what: give an abs"):
        found("data")


def test_one_input_of_any_name_and_parameters_beside_it() -> None:
    spec, given, params = model_inputs({"anything": "x", "params": {"temperature": 0.2}})
    assert (spec.path, given, params) == (["x"], "x", {"temperature": 0.2})
    with pytest.raises(InvalidDocument, match=r"takes one data input, 2 were given \(a, b\); several folders"):
        model_inputs({"b": "1", "a": "2"})


@pytest.mark.parametrize("nothing", [{}, {"data": None}, {"data": ""}, {"data": []}, {"params": {"a": 1}}])
def test_no_data(nothing: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument, match="inputs: nothing was given: name the data"):
        model_inputs(nothing)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "inputs.data: 5 is not understood"),
        ({"pathh": "x"}, "inputs.data: path is missing; pathh is not a known key: did you mean path"),
        ({"path": "x", "type": "mltable"}, "inputs.data: type: 'mltable'"),
        ([" "], "inputs.data: the path is empty"),
        ({"path": []}, "inputs.data: the path is empty"),
    ],
)
def test_what_is_no_pointer_to_data(data: Any, message: str) -> None:
    with pytest.raises(InvalidDocument, match=message):
        model_inputs({"data": data})


@pytest.mark.parametrize("written", ["in", "in/out", "in/a/b"])
def test_an_output_inside_the_input_is_refused(tmp_path: Path, written: str) -> None:
    fill(tmp_path / "in", "a.csv")
    data = found(str(tmp_path / "in"))
    with pytest.raises(InvalidDocument, match="keep them apart"):
        check_apart(data, [Folder(str(tmp_path / "elsewhere")), Folder(str(tmp_path / written))])


def test_an_output_inside_the_input_through_a_link_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a.csv")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for source, written in (("link", "in/out"), ("in", "link/out")):
        with pytest.raises(InvalidDocument, match="keep them apart"):
            check_apart(found(str(tmp_path / source)), [Folder(str(tmp_path / written))])


def test_an_output_inside_a_remote_input_is_refused() -> None:
    root = f"memory://{uuid4().hex}"
    fill(root, "in/a.csv")
    with pytest.raises(InvalidDocument, match="keep them apart"):
        check_apart(found(f"{root}/in"), [Folder(f"{root}/in/out")])
    check_apart(found(f"{root}/in"), [Folder(f"{root}/in-out")])


def test_an_output_beside_the_input_is_fine(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a.csv")
    check_apart(found(str(tmp_path / "in")), [Folder(str(tmp_path / "in-out")), Folder(str(tmp_path))])
    check_apart(found(str(tmp_path / "in" / "a.csv")), [Folder(str(tmp_path / "in"))])
