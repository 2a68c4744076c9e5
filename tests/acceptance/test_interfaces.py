"""docs/interfaces.md says the truth: each cell of its table is a test that there is."""

from __future__ import annotations

import re

import pages
import pytest

PAGE = pages.read("docs/interfaces.md")
WAYS = ["Run form", "`prefect`", "`prefect-batch`", "Python", "REST"]
TABLE = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
ROWS = TABLE[2:]


def test_the_ways():
    assert TABLE[0][1:] == WAYS
    assert len(ROWS) > 15 and all(len(row) == 1 + len(WAYS) for row in ROWS)


@pytest.mark.parametrize(
    ("what", "way", "cell"), [(row[0], way, cell) for row in ROWS for way, cell in zip(WAYS, row[1:], strict=True)]
)
def test_a_cell(what: str, way: str, cell: str):
    if cell == "—":
        return
    named = re.fullmatch(r"\[`(test_\w+)`\]\(\.\./(tests/\w+/test_\w+\.py)\)", cell)
    assert named is not None, f"{what}, {way}: {cell} names no test"
    test, path = named.groups()
    assert re.search(rf"^def {test}\(", pages.read(path), re.MULTILINE), f"{what}, {way}: {path} has no {test}"
