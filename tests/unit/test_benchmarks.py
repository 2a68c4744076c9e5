"""docs/benchmarks.md says what was measured: nothing is altered by hand, missed bars are shown as such."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import report

    return report


def kept(results: Path, part: str, found: Any, **more: Any) -> None:
    about = {"date": "2026-01-01", "machine": "a machine, load 1.0\nPython", "repeat": 1}
    (results / f"{part}.json").write_text(json.dumps({**about, **more, "found": found}), encoding="utf-8")


def ran(wall: float) -> list[dict[str, float]]:
    return [{"wall": wall, "busy": wall, "scoring": wall}]


def test_the_page_is_of_the_results(report: Any, tmp_path: Path):
    (tmp_path / "results").symlink_to(RESULTS)
    (tmp_path / "findings.md").symlink_to(ROOT / "benchmarks" / "findings.md")
    report.write(tmp_path / "results", tmp_path / "page.md")
    assert PAGE.read_text(encoding="utf-8") == (tmp_path / "page.md").read_text(encoding="utf-8")


def test_the_plots_are_of_the_results(report: Any):
    """Numbers beside the bars are those of the tables."""
    text = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"\(images/benchmarks/(\w+)\.svg\)", text):
        drawn = (PAGE.parent / "images" / "benchmarks" / f"{name}.svg").read_text(encoding="utf-8")
        if name in report.bars.WORKLOADS:
            rows = re.findall(r"^\| (.+) \|$", text.split(f"({report.IMAGES}/{name}.svg)")[1].split("## ")[0], re.M)
            cells = [row.split(" | ") for row in rows[2:]]
            assert cells
            assert all(f">{row[1]}<" in drawn and f">{row[3]}<" in drawn for row in cells if row[1] != "not run")


def test_no_plot_is_of_nothing():
    drawn = {f"images/benchmarks/{path.name}" for path in (PAGE.parent / "images" / "benchmarks").iterdir()}
    assert drawn == set(re.findall(r"\((images/[^)]+)\)", PAGE.read_text(encoding="utf-8")))


def test_a_bar_that_is_missed_is_shown_so(report: Any, tmp_path: Path):
    kept(tmp_path, "small", {"ours": ran(6.1), "loop": ran(4), "ray": ran(10), "spark": ran(12), "prefect": ran(100)})
    report.write(tmp_path, tmp_path / "page.md")
    rows = [line for line in (tmp_path / "page.md").read_text().splitlines() if line.startswith("| small: ")]
    assert [re.split(r" \| ", row.strip("| "))[1:] for row in rows] == [
        ["0.61", "≤ 0.6", "**no**"],
        ["0.51", "≤ 0.6", "yes"],
        ["0.06", "≤ 0.2", "yes"],
    ]


@pytest.mark.parametrize(
    ("sign", "seen", "met"), [("<", 0.6, False), ("≤", 0.6, True), ("≥", 0.59, False), ("≥", 0.6, True)]
)
def test_bounds(report: Any, sign: str, seen: float, met: bool):
    assert report.bars.Bar("", seen, sign, 0.6).met is met


def test_a_value_that_misses_narrowly_is_not_rounded_to_its_bound(report: Any):
    assert report.bars.Bar("", 0.6004, "≤", 0.6).cells == ["", "0.6004", "≤ 0.6", "**no**"]


def test_what_was_left_out_is_told(report: Any, tmp_path: Path):
    runs = {"ours": ran(5), "loop": ran(4), "ray": ran(10)}
    kept(tmp_path, "uneven", runs, left_out={"spark": "there is no java"})
    report.write(tmp_path, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| uneven: seconds against Spark | not measured | < 1 |  |" in page
    assert "| Spark | not run |" in page
    assert "Without Spark: there is no java." in page


def test_few_results_make_no_empty_sections(report: Any, tmp_path: Path):
    (tmp_path / "results").mkdir()
    (tmp_path / "findings.md").write_text("## Findings\n")
    runs = [{"imports": 1.0, "busy": 3.0, "call to Completed": 4.0}]
    kept(tmp_path / "results", "fixed_cost", {"runs": runs})
    report.write(tmp_path / "results", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert re.findall(r"^## (.+)$", page, re.M) == ["Bars", "Fixed cost"]
    assert not re.search(r"^## [^\n]+\n+(#|\Z)", page, re.M)
    assert "Not measured yet: files, parquet, " in page


def test_findings_are_taken_as_they_are(report: Any, tmp_path: Path):
    (tmp_path / "results").mkdir()
    (tmp_path / "findings.md").write_text("## Findings\n\nStarting takes *most* of it.\n")
    report.write(tmp_path / "results", tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text().endswith("\n\n## Findings\n\nStarting takes *most* of it.\n")


@pytest.mark.parametrize("machines", [["a", "a"], ["a", "b"]])
def test_the_machine_is_told_once_if_there_is_one(report: Any, tmp_path: Path, machines: list[str]):
    for part, machine in zip(("files", "small"), machines, strict=True):
        kept(tmp_path, part, {"ours": ran(1), "loop": ran(1)}, machine=f"machine {machine}, load 2.5\nPython 3")
    report.write(tmp_path, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text().count("Python 3.") == len(set(machines))
