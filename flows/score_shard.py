"""One shard on one worker: what a mapped task does, and a thread of a trial run."""

from __future__ import annotations

import logging
import threading
import time
from functools import lru_cache, partial
from pathlib import Path

from ..blocks.compute import LOCAL
from ..blocks.datastore import open_folder
from ..blocks.model_source import mlflow_folder
from ..blocks.snapshot import fetch
from ..scoring import shard as scoring
from ..scoring import slots
from ..scoring.contract import ScoringSpec
from ..scoring.errors import BatchError, InvalidDocument
from ..scoring.gpus import Gpus
from ..scoring.log_pump import LogSink
from ..scoring.venv import Interpreter
from .environments import interpreter_of
from .job import Job
from .plan import Plan, Shard


@lru_cache(maxsize=8)
def _job(reference: str) -> tuple[Job, Plan]:
    job = Job.load(open_folder(reference))
    plan = Plan.load(job.folder)
    if plan is None:
        raise BatchError(f"{job.folder.url} has no plan")
    return job, plan


def score_shard(reference: str, number: int, run: int, sink: LogSink | None) -> scoring.Receipt:
    """Score shard `number` of the job whose folder `reference` names, with this process's slots."""
    job, plan = _job(reference)
    shard = plan.shards[number]
    # Not in _make_slots, which is under a lock: a node that came late builds here, for minutes perhaps.
    interpreter = interpreter_of(job, (lambda line: None) if sink is None else partial(sink, logging.INFO))
    return scoring.score_shard(
        job=job.folder,
        shard=number,
        run=run,
        mini_batches=plan.read(job.folder, shard),
        slots=slots.of_job(reference, lambda: _make_slots(job, plan, run, interpreter)),
        retry=_retry(job),
        failures_allowed=job.settings.failures_allowed(plan.items),
        sink=sink,
    )


def fail_shard(job: Job, plan: Plan, shard: Shard, run: int, error_type: str, message: str) -> scoring.Receipt:
    """Commit as failed what a shard has not committed, because the workers that had it died."""
    return scoring.fail_shard(job.folder, shard.number, run, plan.read(job.folder, shard), error_type, message)


def _retry(job: Job) -> scoring.RetrySettings:
    retry = job.settings.retry_settings
    return scoring.RetrySettings(retry.max_retries, retry.timeout)


def _make_slots(job: Job, plan: Plan, run: int, interpreter: Interpreter | None) -> slots.Slots:
    return slots.Slots(
        job.folder,
        scoring_spec(job, interpreter),
        init_timeout=3 * job.settings.retry_settings.timeout + 30,
        output=job.output_folder,
        capacity=job.settings.max_concurrency_per_instance,
        sources=[open_folder(source.reference) for source in plan.sources],
        unchanged=run == 1,  # a job is also resumed after somebody mended a file
        workers=job.settings.instance_count,
        gpus=Gpus(job.compute.gpus_per_instance, shared=job.compute.type == LOCAL),
        memory_limit=job.settings.memory_bytes,
    )


def scoring_spec(job: Job, interpreter: Interpreter | None = None) -> ScoringSpec:
    """What the job's scoring processes load, as local paths on this machine. Raises InvalidDocument."""
    deployment, settings = job.deployment, job.settings
    model_dir = fetch(deployment.model_snapshot) if deployment.model_snapshot else None
    code_dir: Path | None = None
    if deployment.code_snapshot is not None:
        code_dir = fetch(deployment.code_snapshot) / deployment.code_snapshot.name
    mlflow_model: Path | None = None
    if code_dir is None:
        mlflow_model = mlflow_folder(model_dir) if model_dir else None
        if mlflow_model is None:
            raise InvalidDocument(f"deployment {deployment.name!r} has neither a scoring script nor an MLflow model")
    return ScoringSpec(
        model_dir=str(model_dir) if model_dir else None,
        mlflow_model=str(mlflow_model) if mlflow_model else None,
        code_dir=str(code_dir) if code_dir else None,
        scoring_script=deployment.code_configuration.scoring_script if deployment.code_configuration else None,
        output_dir=job.output_folder.path if job.output_folder.is_local else None,
        output_action=settings.output_action,
        output_format=settings.rows_format,
        logging_level=settings.logging_level,
        environment_variables=settings.environment_variables,
        params=job.params,
        output_columns=settings.output_columns.model_dump() if settings.output_columns else {},
        python=interpreter.executable if interpreter is not None else None,
    )


class LimitedSink:
    """Hands lines to a logger from `level` up, at most `rate` a second on average and `burst` at once; says how many
    it kept back. All lines are in the log files, which are in `place`, whatever this does."""

    def __init__(
        self,
        logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
        level: str,
        place: str = "the job's logs folder",
    ) -> None:
        self.logger, self._level, self._place = logger, logging.getLevelNamesMapping()[level.upper()], place
        self.rate, self.burst = 10.0, 50.0
        self._tokens, self._last, self._kept_back = self.burst, time.monotonic(), 0
        self._lock = threading.Lock()

    def __call__(self, level: int, line: str) -> None:
        if level < self._level:
            return
        with self._lock:
            now = time.monotonic()
            self._tokens, self._last = min(self.burst, self._tokens + (now - self._last) * self.rate), now
            if self._tokens < 1:
                self._kept_back += 1
                return
            self._tokens -= 1
            kept_back, self._kept_back = self._kept_back, 0
        if kept_back:
            self.logger.warning("%d lines were kept back; they are in %s", kept_back, self._place)
        self.logger.log(level, "%s", line)
