"""The files of an attempt at a step."""

from __future__ import annotations

import threading

import pytest

from prefect_batch.blocks.acting import bound
from prefect_batch.flows.locations import Location
from prefect_batch.flows.pipeline_job import DataValue
from prefect_batch.flows.step_files import StepFiles
from prefect_batch.scoring.errors import StepFailed

URL = "http://example.invalid/data"


def test_mode_direct_gives_no_url_of_a_callers() -> None:
    """The command would follow it with the rights and within the networks of the worker."""

    def value(reference: str) -> DataValue:
        location = Location(given=URL, url=URL, reference=reference)
        return DataValue(given=URL, location=location, is_folder=False, direct=True)

    with StepFiles("key", threading.Event()) as files:
        assert files.input("data", value(URL)) == URL
        with pytest.raises(StepFailed, match="mode: download"):
            files.input("data", value(bound(URL, "ci")))
