"""`prefect-batch run`: a deployment file scored on this machine, without a server."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.logging import RichHandler

from ..blocks.compute import builtin_local
from ..blocks.datastore import Datastore
from ..blocks.documents import validate
from ..blocks.model_deployment import ModelDeployment
from ..blocks.settings import JobSettings
from ..flows.catalog import take_snapshots
from ..flows.job import OUTPUT_NAME
from ..flows.local import run_local
from ..flows.mapping import Tally
from ..flows.packing import plan_job
from ..flows.request import make_job
from ..flows.summary import Summary
from ..scoring.errors import AlreadyExists, InvalidDocument
from ..scoring.storage import Folder
from . import terminal


def run_deployment(deployment: ModelDeployment, file: Path, call: dict[str, Any], output: Path) -> Summary:
    """Run a call's `inputs` and `settings` into the new or empty folder `output`, with a progress bar.

    Raises InvalidDocument, NotFound, AlreadyExists.
    """
    if "outputs" in call:
        raise InvalidDocument("outputs: a trial run writes all that it makes below --output: leave outputs out")
    target = output.expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AlreadyExists(f"--output {output}: is not an empty folder, and nothing is overwritten: name a new one")
    folder = Folder(str(target))
    logger = logging.getLogger("prefect_batch.run")
    logger.handlers, logger.propagate = [RichHandler(console=terminal.err, show_path=False)], False
    logger.setLevel(logging.DEBUG)
    with tempfile.TemporaryDirectory(prefix="prefect-batch-run-") as snapshots:
        job = make_job(
            None,
            f"local-{uuid4().hex[:8]}",
            take_snapshots(deployment, file, Datastore(url=snapshots)),
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
