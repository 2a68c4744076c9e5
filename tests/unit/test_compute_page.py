"""docs/compute.md says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields

import pages
import yaml

from prefect_batch.blocks.compute import ComputeCluster, parse_compute
from prefect_batch.flows.usage import Consumption

PAGE = pages.read("docs/compute.md")


def keys(table: str) -> list[str]:
    """What stands in the first column of the table that begins with this line."""
    rows = PAGE.split(f"{table}\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [key for row in rows for key in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_computes_on_the_page_are_valid():
    (document,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert parse_compute(yaml.safe_load(document), "the page").chaos is not None


def test_keys_of_a_compute_and_their_defaults():
    compute = ComputeCluster(name="any")
    rows = PAGE.split("| Key | Default | |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    for row in rows:
        _, names, defaults, *_ = row.split("|")
        for name, default in zip(re.findall(r"`(\w+)`", names), defaults.split(","), strict=True):
            held = getattr(compute, name)
            assert default.strip().strip("`") == ("none" if held is None else str(held)), name


def test_keys_of_a_summary():
    assert keys("| Key | |") == [each.name for each in fields(Consumption)]
