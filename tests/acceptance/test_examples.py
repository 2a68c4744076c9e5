"""The READMEs of examples/ are true: their commands run, one after the other, and do what the texts say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pages
import pytest

EXAMPLES = sorted(path.parent.name for path in (pages.ROOT / "examples").glob("*/README.md"))


def run(example: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    clone = pages.clone()
    return pages.run(pages.commands(pages.read(f"examples/{example}/README.md")), clone), clone


def header(path: Path) -> list[str]:
    return path.read_text().splitlines()[0].split(",")


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_page_runs_all_its_commands(example: str):
    text = pages.read(f"examples/{example}/README.md")
    assert pages.not_run(text) == []
    assert text.count("```bash") == len(pages.commands(text)) > 0
    assert pages.broken_links(f"examples/{example}/README.md") == []


def test_each_example_of_a_pipeline_is_tested_below():
    assert {f"test_{example}" for example in EXAMPLES} <= set(globals())


@pytest.mark.usefixtures("server")
def test_score_with_preprocessing():
    """The commands compare the scores of both ways themselves; here, that there are any."""
    done, clone = run("score_with_preprocessing")
    scores = clone / "heart" / "scores" / "scores.csv"
    rows = (clone / "heart" / "predictions" / "scores.csv").read_text().split()
    assert header(scores) == [*header(clone / "heart/data/unlabeled/heart-unlabeled-0.csv"), "prediction"]
    assert rows[0] == "prediction" and len(rows) == 304 and set(rows[1:]) == {"0", "1"}
    assert rows == [line.split(",")[-1] for line in scores.read_text().split()]
    assert done.stderr.count("Completed: ") == 4


@pytest.mark.usefixtures("server")
def test_train_with_components():
    done, clone = run("train_with_components")
    found = clone / "training" / "results" / "named-outputs"
    metrics = json.loads((found / "evaluation_results" / "metrics.json").read_text())
    assert metrics["patients"] == 91 and metrics["accuracy"] > 0.7
    assert (found / "model" / "MLmodel").is_file()
    assert header(clone / "training" / "scores" / "predictions.csv") == ["row", "prediction", "file_name"]
    assert done.stderr.count("Completed: ") == 4
    assert "4 of 4 files scored, 303 rows" in done.stderr


@pytest.mark.usefixtures("server")
def test_diamond():
    done, clone = run("diamond")
    report = json.loads((clone / "diamond" / "report.json").read_text())
    assert report["difference"] == 2640 and report["overlap"] > 0
    noted = json.loads((clone / "diamond" / "noted.json").read_text())
    assert noted["note"] == "a note" and noted["difference"] == 25164150
    assert "It has failed." in done.stdout and "It was refused." in done.stdout
    failed = next(line for line in done.stderr.splitlines() if line.startswith("Failed: "))
    assert "left" in failed and "left: told to fail" in done.stderr
    assert "Hello from a step" in done.stdout
    assert done.stderr.count("Completed: ") == 3
