"""docs/scale.md shows what the code renders."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pages
import pytest

from prefect_batch.blocks.compute import KINDS

PAGE = pages.read("docs/scale.md")
EXAMPLES = re.findall(
    r"```yaml\n(.+?)```\n\n`prefect-batch (compute render .+? -f (\S+))`:\n\n```text\n(.+?)```", PAGE, re.DOTALL
)


def test_every_yaml_has_what_it_becomes():
    assert len(EXAMPLES) == PAGE.count("```yaml") >= 7


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[2])
def test_the_page_shows_what_is_rendered(
    example: tuple[str, str, str, str],
    cli_here: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    document, command, file, rendered = example
    (tmp_path / file).write_text(document)
    monkeypatch.chdir(tmp_path)
    assert cli_here(*shlex.split(command)).stdout == rendered


def test_every_type_is_in_the_table():
    table = PAGE.split("| type |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))) == set(KINDS)
