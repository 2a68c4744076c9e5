from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefect_batch.interfaces.formats import Wanted
from prefect_batch.scoring.errors import InvalidDocument

JOBS: list[dict[str, Any]] = [
    {"name": "a1", "status": "Completed", "inputs": {"data": "x"}, "rows": 3, "ok": True},
    {"name": "b2", "status": "Failed", "inputs": {}, "rows": None, "ok": False},
]


@pytest.mark.parametrize("form", ["json", "jsonc"])
def test_json(form: Any):
    assert json.loads(Wanted(form).text(JOBS)) == JOBS


def test_yaml():
    text = Wanted("yaml").text(JOBS)
    assert yaml.safe_load(text) == JOBS
    assert text.startswith("- name: a1\n  status: Completed\n")
    assert Wanted("yaml", "[0].name").text(JOBS) == "a1\n"


def test_none_prints_nothing():
    assert Wanted("none").text(JOBS) == ""
    assert Wanted("none", "[0].name").text(JOBS) == ""


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("[0].name", "a1\n"),
        ("[].name", "a1\nb2\n"),
        ("[].[name, status]", "a1\tCompleted\nb2\tFailed\n"),
        ("[?status=='Failed'].{n: name, r: rows}", "b2\t\n"),
        ("[0].ok", "true\n"),
        ("[0].inputs", "x\n"),
        ("[].[name, inputs]", 'a1\t{"data": "x"}\nb2\t{}\n'),
        ("[9].name", ""),
        ("[?name=='c3']", ""),
        ("length(@)", "2\n"),
    ],
)
def test_tsv(query: str, text: str):
    assert Wanted("tsv", query).text(JOBS) == text


def test_a_row_of_tsv_is_one_line_and_a_single_text_stays_as_it_is():
    data = {"a": "two\nlines\tand a tab", "b": 1}
    assert Wanted("tsv").text(data) == "two lines and a tab\t1\n"
    assert Wanted("tsv", "a").text(data) == "two\nlines\tand a tab\n"


def test_table():
    assert Wanted("table").text(JOBS).splitlines() == [
        "Name  Status     Rows  Ok",
        "----  ---------  ----  -----",
        "a1    Completed  3     true",
        "b2    Failed           false",
    ]
    assert Wanted("table", "[].[name, rows]").text(JOBS).splitlines()[0] == "Column1  Column2"
    assert Wanted("table", "[].name").text(JOBS).splitlines() == ["Result", "------", "a1", "b2"]
    assert Wanted("table").text([]) == ""


def test_a_query_without_a_format_gives_json():
    assert Wanted(None, "[0].name").text(JOBS) == '"a1"\n'
    assert Wanted(None, "[9].name").text(JOBS) == "null\n"


def test_what_json_does_not_know_is_text():
    shown = json.loads(Wanted("json").text({"at": datetime(2026, 1, 2, tzinfo=UTC), "path": Path("a/b")}))
    assert shown == {"at": "2026-01-02T00:00:00+00:00", "path": "a/b"}


@pytest.mark.parametrize("query", ["a[", "", "[?x==`", "nofunction(@)"])
def test_a_bad_query_is_told_on_one_line(query: str):
    with pytest.raises(InvalidDocument, match=r"^--query") as error:
        Wanted("json", query).text(JOBS)
    assert "\n" not in str(error.value)
