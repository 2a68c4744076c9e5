"""The environment of a job's scoring processes: built on the machines that score, and held against the model."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from functools import lru_cache
from typing import Any
from uuid import uuid4

from ..blocks.environment import EnvironmentSpec
from ..blocks.requirements import mismatches, name_of
from ..blocks.settings import ModelSettings
from ..scoring import venv
from ..scoring.errors import BuildFailed
from ..scoring.venv import Interpreter, Recipe, Say
from .job import Job

_NODE_SECONDS = 1.0
_DRAIN_SECONDS = 5.0
"""That what goes through the scheduler, a builder's lines and who listens to them, may come behind direct answers."""
_HELLO = "prefect-batch: who listens?"


def prepare(job: Job, dask: Any, say: Callable[[str], None]) -> list[str]:
    """Build the job's environment on every machine of its cluster; returns what of it does not suit the model.

    Nodes that come later build it when they get their first shard.

    Args:
        job: as recorded.
        dask: client of the job's Dask cluster.
        say: receives each line of the builder's log as it comes.

    Raises JobFailed with the builder's whole log.
    """
    spec, logged = job.deployment.environment_spec, job.deployment.model_environment
    if spec is None or not spec.has_python:
        return [] if logged is None else _compare(logged, *_installed(dask, _names(logged)))
    recipe = spec.recipe(needs(job))
    if recipe is None:
        built = _on_workers(dask, _inspect_there, spec.interpreter, needs(job))
    elif (found := _ready(recipe, dask)) is not None:
        built = found
    else:
        with _told(dask, say) as topic:
            built = _on_workers(dask, _build_there, recipe, needs(job), topic)
    return [] if logged is None else _compare(logged, built.version, built.packages)


def prepare_here(job: Job, say: Say) -> list[str]:
    """prepare() for a job of this process alone."""
    logged = job.deployment.model_environment
    interpreter = interpreter_of(job, say)
    if logged is None:
        return []
    if interpreter is None:
        return _compare(logged, *venv.installed(_names(logged)))
    return _compare(logged, interpreter.version, interpreter.packages)


def interpreter_of(job: Job, say: Say) -> Interpreter | None:
    """What scoring processes of this machine run in, built now unless it is there; None for this process's own.

    Raises BuildFailed.
    """
    spec = job.deployment.environment_spec
    if spec is None or not spec.has_python:
        return None
    recipe = spec.recipe(needs(job))
    if recipe is not None:
        return venv.build(recipe, say, needs(job))
    assert spec.interpreter is not None
    return _inspected(spec.interpreter, tuple(needs(job)))


def build_for_scripts(spec: EnvironmentSpec, say: Say) -> Interpreter:
    """What the jobs of scoring scripts run in, built on this machine unless it is there.

    Raises BuildFailed, also for what is an image and no more.
    """
    needed = needed_for(False, ModelSettings(), spec)
    if (recipe := spec.recipe(needed)) is not None:
        return venv.build(recipe, say, needed)
    if spec.interpreter is None:
        raise BuildFailed(f"{spec.name}: an image is not built here: nodes of a compute that runs containers run it")
    return _inspected(spec.interpreter, tuple(needed))


@lru_cache(maxsize=8)
def _inspected(executable: str, needed: tuple[str, ...]) -> Interpreter:
    found = venv.inspect(executable)
    venv.check(found, needed)
    return found


def needs(job: Job) -> list[str]:
    """Packages that the scoring process itself imports, for a job with these settings."""
    return needed_for(job.deployment.code_configuration is None, job.settings, job.deployment.environment_spec)


def needed_for(mlflow: bool, settings: ModelSettings, spec: EnvironmentSpec | None) -> list[str]:
    """Packages that a scoring process imports.

    Args:
        mlflow: whether it is an MLflow model's own, without a scoring script.
        settings: of the job.
        spec: an mlflow that it asks for serves as well as the small one.
    """
    if mlflow:
        full = spec is not None and "mlflow" in {name_of(line) for line in spec.requirements}
        return ["pandas", "pyarrow", "pillow", "mlflow" if full else "mlflow-skinny"]
    tables = settings.rows_format == "parquet" or settings.output_columns is not None
    return ["pandas", *(["pyarrow"] if tables else [])]


def _names(logged: EnvironmentSpec) -> list[str]:
    names = [name for line in logged.requirements if (name := name_of(line)) is not None]
    return [*names, "mlflow-skinny"]


def _compare(logged: EnvironmentSpec, version: str, packages: Mapping[str, str]) -> list[str]:
    return mismatches(logged.requirements, logged.python, packages, version)


def _installed(dask: Any, names: list[str]) -> tuple[str, dict[str, str]]:
    """What the worker's Python has; where no worker is there yet, what this process's has."""
    workers = list(dask.scheduler_info(n_workers=1)["workers"])
    if not workers:
        return venv.installed(names)
    return dask.run(venv.installed, names, workers=workers[:1])[workers[0]]


def _ready(recipe: Recipe, dask: Any) -> Interpreter | None:
    """The environment, if each worker finds it built."""
    found: dict[str, Interpreter | None] = dask.run(venv.find, recipe)
    first = next(iter(found.values()), None)
    return first if found and all(one is not None for one in found.values()) else None


def _on_workers(dask: Any, what: Any, *arguments: Any) -> Interpreter:
    """What all workers do, one of them at least; what the first of them found. Raises BuildFailed."""
    while not dask.scheduler_info(n_workers=1)["workers"]:
        _wait_for_a_node(dask)
    found: dict[str, Interpreter | BuildFailed] = dask.run(what, *arguments)
    for one in found.values():
        if isinstance(one, BuildFailed):
            raise one
    return next(one for one in found.values() if isinstance(one, Interpreter))


def _wait_for_a_node(dask: Any) -> None:
    """For a while. Raises JobFailed when the job's cluster had none for too long."""
    from . import provision  # environments are also built where there is no cluster

    with contextlib.suppress(TimeoutError):
        dask.wait_for_workers(1, timeout=_NODE_SECONDS)
    if (cluster := provision.current()) is not None:
        cluster.nodes.check()


async def _build_there(recipe: Recipe, needed: list[str], topic: str, dask_worker: Any) -> Interpreter | BuildFailed:
    """On a worker, whose loop stays free: it says that it lives, and passes lines on; None behind the last."""
    try:
        return await asyncio.to_thread(venv.build, recipe, lambda line: dask_worker.log_event(topic, line), needed)
    except BuildFailed as error:
        return error
    finally:
        dask_worker.log_event(topic, None)


async def _inspect_there(executable: str, needed: list[str]) -> Interpreter | BuildFailed:
    try:
        return await asyncio.to_thread(_inspected, executable, tuple(needed))
    except BuildFailed as error:
        return error


@contextlib.contextmanager
def _told(dask: Any, say: Say) -> Generator[str]:
    """Hands on what workers say about a topic, for the time of the block; gives the topic's name."""
    topic = f"prefect-batch-environment-{uuid4().hex}"
    heard, last = threading.Event(), threading.Semaphore(0)

    def take(event: tuple[float, str | None]) -> None:
        _, line = event
        if line == _HELLO:
            heard.set()
        else:
            last.release() if line is None else say(line)

    dask.subscribe_topic(topic, take)
    until = time.monotonic() + _DRAIN_SECONDS
    while not heard.wait(0.05) and time.monotonic() < until:  # the scheduler learns later of who listens
        dask.log_event(topic, _HELLO)
    try:
        yield topic
    finally:  # a worker's lines come in order, but not before what it returned
        until = time.monotonic() + _DRAIN_SECONDS
        for _ in dask.scheduler_info(n_workers=-1)["workers"]:
            last.acquire(timeout=max(0.0, until - time.monotonic()))
        dask.unsubscribe_topic(topic)
