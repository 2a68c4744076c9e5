"""The scoring script's contract, in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

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
