"""`prefect-batch run`: a deployment file tried out on this machine, without a server."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.logging import RichHandler

from ..blocks.compute import builtin_local
from ..blocks.datastore import Datastore
from ..blocks.documents import validate
from ..blocks.interface import Interface
from ..blocks.model_deployment import ModelDeployment
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.settings import JobSettings
from ..flows.catalog import take_snapshots
from ..flows.job import OUTPUT_NAME
from ..flows.local import run_graph_local, run_local
from ..flows.mapping import Tally
from ..flows.packing import plan_job
from ..flows.pipeline_request import make_pipeline_job
from ..flows.pipeline_source import with_pipeline
from ..flows.pipeline_summary import PipelineSummary
from ..flows.request import make_job
from ..flows.run_graph import StepCounts
from ..flows.summary import Summary
from ..scoring.errors import AlreadyExists, InvalidDocument
from ..scoring.storage import Folder
from . import terminal


def run_deployment(deployment: ModelDeployment, file: Path, call: dict[str, Any], output: Path) -> Summary:
    """Run a call's `inputs` and `settings` into the new or empty folder `output`, with a progress bar.

    Raises InvalidDocument, NotFound, AlreadyExists.
    """
    folder, logger = _prepare(call, output), _logger()
    with tempfile.TemporaryDirectory(prefix="prefect-batch-run-") as snapshots:
        job = make_job(
            None,
            f"local-{uuid4().hex[:8]}",
            take_snapshots(None, deployment, file, Datastore(url=snapshots)),
            builtin_local(),
            folder.url,
            call.get("inputs", {}),
            {OUTPUT_NAME: folder.file_url(OUTPUT_NAME)},
            validate(JobSettings, call.get("settings", {}), "--set"),
        )
        job.save()
        plan_job(job, logger.info)
        with terminal.progress_bar() as update:

            def report(tally: Tally) -> None:
                update("Scoring", tally.mini_batches, tally.mini_batches_total, tally.failed)

            return run_local(job, report, logger)


def run_pipeline(
    deployment: PipelineDeployment, file: Path, make_call: Callable[[Interface], dict[str, Any]], output: Path
) -> PipelineSummary:
    """Run a pipeline's steps into the new or empty folder `output`, with a progress bar.

    Args:
        deployment: as its file says.
        file: the deployment's.
        make_call: the `inputs` and `settings`, for what the pipeline takes.
        output: the folder.

    Raises InvalidDocument, NotFound, AlreadyExists.
    """
    if deployment.flow is not None:
        raise InvalidDocument(f"{file}: a flow in Python runs on a server: deploy it, and invoke its endpoint")
    with tempfile.TemporaryDirectory(prefix="prefect-batch-run-") as snapshots:
        whole = with_pipeline(None, deployment, file, Datastore(url=snapshots))
        call = make_call(whole.interface)
        folder, logger = _prepare(call, output), _logger()
        inputs, settings = call.get("inputs", {}), call.get("settings", {})
        compute = builtin_local()
        job = make_pipeline_job(None, f"local-{uuid4().hex[:8]}", whole, compute, folder.url, inputs, {}, settings)
        job.save()
        with terminal.progress_bar() as update:

            def report(counts: StepCounts) -> None:
                update("Running", counts.completed, counts.total, counts.failed, ("steps", "steps"))

            return run_graph_local(job, report, logger)


def _prepare(call: dict[str, Any], output: Path) -> Folder:
    """The folder for all files of a trial run. Raises InvalidDocument, AlreadyExists."""
    if "outputs" in call:
        raise InvalidDocument("outputs: a trial run writes all that it makes below --output-path: leave outputs out")
    target = output.expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AlreadyExists(f"--output-path {output}: not an empty folder, and nothing is overwritten: name a new one")
    return Folder(str(target))


def _logger() -> logging.Logger:
    logger = logging.getLogger("prefect_batch.run")
    logger.handlers, logger.propagate = [RichHandler(console=terminal.err, show_path=False)], False
    logger.setLevel(logging.DEBUG)
    return logger
