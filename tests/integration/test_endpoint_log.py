"""What a failed job leaves in its log."""

from __future__ import annotations

import logging

import pytest
from prefect.exceptions import FailedRun
from prefect.flow_engine import run_flow

from prefect_batch.flows import endpoint as module
from prefect_batch.scoring.errors import NotFound


def test_a_job_that_failed_by_its_own_words_logs_no_traceback(
    server: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object) -> None:
        raise NotFound("there is no such data")

    monkeypatch.setattr(module, "job_root", refuse)
    logger = logging.getLogger("prefect.flow_runs")
    monkeypatch.setattr(logger, "propagate", True)
    logger.addHandler(caplog.handler)
    try:
        with pytest.raises(FailedRun, match="there is no such data"):
            run_flow(module.endpoint, parameters={"endpoint": "x"}, error_logger=logger)
    finally:
        logger.removeHandler(caplog.handler)
    said = [entry for entry in caplog.records if entry.name == logger.name and entry.levelno >= logging.ERROR]
    assert {entry.getMessage() for entry in said} == {"there is no such data"}
    assert not any(entry.exc_info for entry in said)
