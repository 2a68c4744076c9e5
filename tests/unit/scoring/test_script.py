"""The scoring script's contract, in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.scoring.contract import Scored, ScoringSpec
from prefect_batch.scoring.errors import InitFailed, MiniBatchFailed
from prefect_batch.scoring.items import LocalItem
from prefect_batch.scoring.script import ScriptScorer

Script = Callable[..., ScoringSpec]


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A script changes sys.path, sys.argv and sys.modules, as it may in a process of its own."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    yield


def score(spec: ScoringSpec, *names: str) -> Scored:
    items = [LocalItem(os.path.join("/data", name), name, name) for name in names]  # noqa: PTH118
    return ScriptScorer(spec).score(items, True)


def lost(scored: Scored) -> list[str | None]:
    assert {error.error_type for error in scored.errors} <= {"MissingRow"}
    return [item for error in scored.errors for item in error.items]


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("pd.DataFrame({'file': [os.path.basename(p) for p in kept], 'y': 1})", ["b.csv"]),
        ("[p for p in kept]", ["b.csv"]),
        ("[Path(p) for p in kept]", ["b.csv"]),
        ("[[Path(p), 1] for p in kept]", ["b.csv"]),
        ("[(os.path.basename(p), 1) for p in kept]", ["b.csv"]),
        ("[{'file': Path(p).stem} for p in kept]", ["b.csv"]),
        ("[f'{os.path.basename(p)}: 0.5' for p in kept]", ["b.csv"]),
        ("[f'{os.path.basename(p)},0.5' for p in kept]", ["b.csv"]),
        ("pd.DataFrame({'y': 1}, index=[os.path.basename(p) for p in kept])", ["b.csv"]),
        ("[0.5 for p in kept]", [None]),
        ("np.zeros(len(kept))", [None]),
    ],
)
def test_files_without_a_row_are_failures_named_where_rows_name_files(
    script: Script, returned: str, expected: list[str | None]
) -> None:
    spec = script(
        f"""
        import os
        from pathlib import Path
        import numpy as np
        import pandas as pd

        def run(mini_batch):
            kept = [p for p in mini_batch if "b" not in Path(p).name]
            return {returned}
        """
    )
    scored = score(spec, "a.csv", "b.csv", "d.csv")
    assert scored.failed == 1
    assert scored.chunk.rows == 2
    assert lost(scored) == expected
    assert "run() returned 2 elements for 3 files" in scored.errors[0].message


@pytest.mark.parametrize("returned", ["pd.DataFrame({'label': [1, 2]})", "[{'label': 1}, {'label': 2}]", "[[1], [2]]"])
def test_numbers_are_not_taken_for_file_names(script: Script, returned: str) -> None:
    """Files 0.png to 2.png, labels 1 and 2: nobody knows that 0.png is the one without a row."""
    scored = score(script(f"import pandas as pd\n\ndef run(m):\n    return {returned}\n"), "0.png", "1.png", "2.png")
    assert lost(scored) == [None]


def test_an_empty_result_fails_all_by_name(script: Script) -> None:
    scored = score(script("def run(m):\n    return []\n"), "a", "b")
    assert (scored.failed, scored.chunk.rows, lost(scored)) == (2, 0, ["a", "b"])


def test_more_rows_than_files_are_fine(script: Script) -> None:
    scored = score(script("def run(m):\n    return [1, 2, 3]\n"), "a")
    assert (scored.failed, scored.chunk.rows, scored.errors) == (0, 3, [])


def test_summary_only_keeps_the_count_and_no_rows(script: Script) -> None:
    scored = score(script("def run(m):\n    return ['x'] * (len(m) - 1)\n", output_action="summary_only"), "a", "b")
    assert (scored.chunk.data, scored.chunk.rows, scored.failed) == (b"", 1, 1)


def test_run_gets_a_list_of_its_own(script: Script) -> None:
    scorer = ScriptScorer(script("def run(m):\n    m.clear()\n    return ['x', 'y']\n"))
    items = [LocalItem("/a", "a", "a"), LocalItem("/b", "b", "b")]
    assert scorer.score(items, True).failed == 0
    assert scorer.score(items, True).chunk.rows == 2


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("text", ["async def run(m):\n    return m\n", "def run(m):\n    yield m\n"])
def test_run_that_is_no_plain_function(script: Script, text: str) -> None:
    with pytest.raises(MiniBatchFailed, match=r"run\(\) returned (coroutine|generator)"):
        score(script(text), "a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def init(): ...\n", r"score.py has no function run\(\): a scoring script defines init\(\) and run\(\)"),
        ("run = 3\n\ndef init(): ...\n", r"has no function run\(\)"),
        ("def run(m): ...\n\n# def init\n", r"has no function init\(\)"),
    ],
)
def test_what_a_script_must_define(script: Script, text: str, said: str) -> None:
    with pytest.raises(InitFailed, match=said):
        ScriptScorer(script(text))


def test_a_script_that_is_not_python(script: Script) -> None:
    with pytest.raises(InitFailed, match=r"score.txt is not a Python file: name the scoring script with its .py"):
        ScriptScorer(script("def run(m): ...\n", name="score.txt"))


def test_shutdown_is_optional(script: Script) -> None:
    ScriptScorer(script("def run(m): ...\n")).shutdown()
    scorer = ScriptScorer(script("def run(m): ...\n\ndef shutdown():\n    raise RuntimeError('called')\n"))
    with pytest.raises(RuntimeError, match="called"):
        scorer.shutdown()


@pytest.mark.parametrize(
    ("arguments", "params", "got"),
    [
        ("m, t=1, **rest", {"t": 2, "k": 3}, {"t": 2, "k": 3}),
        ("m, t=1", {"t": 2, "k": 3}, {"t": 2}),
        ("m, *, t=1, k=0", {"t": 2}, {"t": 2, "k": 0}),
        ("m, t=1", {}, {"t": 1}),
        ("m, t=1, *rest", {"m": 5}, {"t": 1}),
        ("m", {"t": 2}, {}),
    ],
)
def test_run_gets_the_parameters_that_it_asks_for(
    script: Script, arguments: str, params: dict[str, Any], got: dict[str, Any]
) -> None:
    body = "    found = {k: v for k, v in locals().items() if k not in ('m', 'rest')}\n"
    body += "    rest = locals().get('rest')\n"
    body += "    return [{'got': {**found, **(rest if isinstance(rest, dict) else {})}}]\n"
    scored = score(script(f"def run({arguments}):\n{body}", params=params, output_format="jsonl"), "a")
    assert json.loads(scored.chunk.data) == {"got": got}


def test_a_parameter_that_run_does_not_take_is_said(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    ScriptScorer(script("def run(m, t=1): ...\n", params={"k": 1, "t": 2}))
    assert [record.message for record in caplog.records] == ["run() does not take the parameter k"]


def test_a_callable_without_a_signature_gets_all(script: Script) -> None:
    scorer = ScriptScorer(script("run = dict\n", params={"k": 1}))
    assert scorer.params == {"k": 1}


def test_what_run_returned_is_joined(script: Script, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x\n007,1\n,2\n")
    item = LocalItem(str(tmp_path / "a.csv"), "a.csv rows 5-6", "in/a.csv", 5)
    text = "import pandas as pd\n\ndef run(m):\n    return pd.concat([pd.read_csv(p)[['x']] for p in m])\n"
    asked = {"input": ["id"], "prediction": "p", "file": True, "row": True}
    scored = ScriptScorer(script(text, output_columns=asked)).score([item], True)
    assert scored.chunk.columns == ["row", "id", "p", "file_name"]
    assert scored.chunk.data == b"5,007,1,in/a.csv\n6,,2,in/a.csv\n"
    assert (scored.failed, scored.errors) == (0, [])
    plain = ScriptScorer(script(text)).score([item], True)
    assert (plain.chunk.columns, plain.chunk.data) == (["x"], b"1\n2\n")


def test_fewer_rows_than_files_cannot_be_joined(script: Script) -> None:
    text = "def run(m):\n    return m[1:]\n"
    with pytest.raises(MiniBatchFailed, match=r"run\(\) returned 1 rows for 2 files"):
        score(script(text, output_columns={"file": True}), "a.png", "b.png")
    named = score(script(text, output_columns={"prediction": "p", "file": False, "row": False}), "a.png", "b.png")
    assert (named.chunk.columns, named.failed, lost(named)) == (["p"], 1, ["a.png"])
    counted = score(script(text, output_action="summary_only"), "a.png", "b.png")
    assert (counted.chunk.data, counted.failed) == (b"", 1)
