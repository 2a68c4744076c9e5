"""A job's record: what cannot be read says so in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_batch.flows.job import RECORD, Job
from prefect_batch.scoring.errors import BatchError, NotFound
from prefect_batch.scoring.storage import Folder


def test_a_folder_without_a_record(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=f"no job is recorded in {tmp_path}"):
        Job.load(Folder(str(tmp_path)))


@pytest.mark.parametrize("text", ["", "{", "{}", '{"id": 5}'])
def test_what_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(BatchError, match=r"job\.json is no record of a job: ") as raised:
        Job.load(Folder(str(tmp_path)))
    assert "\n" not in str(raised.value)
