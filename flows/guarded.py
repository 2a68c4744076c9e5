"""Which places callers may name who are not trusted with the disks and networks of the machines that jobs run on.

Datastore paths, data assets, registered models, whatever lies in a datastore, and the public web. All else becomes
reachable when somebody makes a datastore of it.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from prefect.client.orchestration import SyncPrefectClient

from ..blocks.acting import acting_as
from ..blocks.compute import LOCAL, Capacity
from ..blocks.deployment import Deployment
from ..blocks.interface import MODELS
from ..blocks.model_source import is_registered
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.references import AssetReference, LocalPath, parse
from ..scoring.errors import Forbidden, InvalidDocument
from ..scoring.public_network import check_public
from .inputs import PARAMS
from .job import Job
from .kept import Kept, MayRead
from .locations import Location, locate
from .pipeline_job import AnyJob, DataValue

_WEB = ("http://", "https://")
_MODEL = re.compile(r"(models:/|azureml:)[^%\\?#]*\Z")
_PATH_KEYS = ("path", "uri")
_PROCESSES_PER_CORE = 16
_MOST_PLACES = 100
"""Of one call: the server is asked about each."""


def check_places(
    client: SyncPrefectClient,
    deployment: Deployment,
    parameters: Mapping[str, Any],
    principal: str,
    may_read: MayRead | None = None,
) -> None:
    """Refuse a call that names a place which the caller may not name. Nothing is opened, and nothing else is checked.

    The job checks again: a name may mean another place on its machine.

    Args:
        client: of the Prefect server.
        deployment: that the call means.
        parameters: `inputs`, `input` and `outputs` of the call, in any shape.
        principal: who calls.
        may_read: whose outputs the caller may name as inputs; None where that was asked before.

    Raises Forbidden, InvalidDocument, NotFound.
    """
    places = list(itertools.islice(_places(deployment, parameters), _MOST_PLACES + 1))
    if len(places) > _MOST_PLACES:
        raise InvalidDocument(f"a call names {_MOST_PLACES} places at most: name the folders that they are in")
    kept = Kept(client, may_read)
    with acting_as(principal):
        for where, given in places:
            try:
                _check(client, given, kept, where.startswith("outputs."))
            except Forbidden as error:
                raise Forbidden(f"{where}: {error}") from None


def check_links(job: AnyJob) -> None:
    """Refuse a job, just made, with a link in its local inputs that leads out of their datastore. Raises Forbidden."""
    for location, file in _read_by(job):
        if location.datastore is not None and location.asset is None and "://" not in location.url:
            assert location.root is not None  # it was found for this job, not read from a record
            for path in _links(location.url) if file is None else [f"{location.url}/{file}"]:
                _check_inside(path, location.root)


def check_size(job: AnyJob) -> None:
    """Refuse a job whose caller asks for more processes at once than the deployment has and this machine can bear.

    Raises InvalidDocument.
    """
    local, asked, own = job.compute.type == LOCAL, job.settings, job.deployment.settings
    most = max(_processes(own, local), _PROCESSES_PER_CORE * (os.cpu_count() or 1))
    if _processes(asked, local) > most:
        raise InvalidDocument(
            f"settings: instance_count and max_concurrency_per_instance ask for {_processes(asked, local)} processes, "
            f"and a caller may have {most} here: ask for fewer"
        )


def _processes(settings: Capacity, local: bool) -> int:
    """On one machine: a local cluster has all its instances on it."""
    return settings.max_concurrency_per_instance * (settings.instance_count if local else 1)


def _read_by(job: AnyJob) -> Iterator[tuple[Location, str | None]]:
    """What the inputs of a job mean; of a file in a folder both."""
    if isinstance(job, Job):
        yield from ((place.location, place.file) for place in job.input.places)
    else:
        yield from ((value.location, None) for value in job.inputs.values() if isinstance(value, DataValue))


def _links(top: str) -> Iterator[str]:
    """The place itself, and every link below it."""
    yield top
    for folder, folders, files in os.walk(top):
        yield from (str(path) for name in (*folders, *files) if (path := Path(folder, name)).is_symlink())


def _check_inside(path: str, root: str) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise Forbidden(f"{path!r} is a link that leads out of its datastore: name another place")


def _places(deployment: Deployment, parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every place that a call names, and where it says so. What is no place in any shape is left to others."""
    for group in ("inputs", "outputs"):
        for name, value in _mapping(parameters.get(group)).items():
            if group == "outputs" or _is_data(deployment, name, value):
                yield from ((f"{group}.{name}", text) for text in _texts(value))
    yield from (("input", text) for text in _texts(parameters.get("input")))


def _is_data(deployment: Deployment, name: str, value: Any) -> bool:
    if not isinstance(deployment, PipelineDeployment):
        return name != PARAMS
    spec = deployment.interface.inputs.get(name)
    if spec is None or spec.is_literal:
        return False
    return not (spec.type in MODELS and all(map(_is_model, _texts(value))))


def _is_model(text: str) -> bool:
    """Whether a text names a model of the registry; what a run has logged is not in it."""
    return _MODEL.match(text) is not None and ".." not in text and is_registered(text)


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _texts(inner)
    else:
        for key, inner in _mapping(value).items():
            if str(key).lower() in _PATH_KEYS:
                yield from _texts(inner)


def _check(client: SyncPrefectClient, given: str, kept: Kept, to_write: bool) -> None:
    place = parse(given)
    if isinstance(place, AssetReference):
        locate(given, client)  # it may point into a datastore that is denied
        return
    if ".." in re.split(r"[/\\:]", unquote(unquote(given))):  # servers decode what a path says
        raise Forbidden(f"{given!r} climbs: write the path without '..'")
    if isinstance(place, LocalPath) and not place.path.startswith("/"):
        raise _outside(given)
    location = locate(given, client)
    if location.root is not None:
        if "://" not in location.url:
            _check_inside(location.url, location.root)
        kept.check(given, location.url, location.root, to_write)
    elif location.url.startswith(_WEB):
        check_public(location.url)
    else:
        raise _outside(given)


def _outside(given: str) -> Forbidden:
    return Forbidden(
        f"{given!r} is in no datastore: name a place in one, as in azureml://datastores/<datastore>/paths/<path>, "
        "a data asset, or a URL on the public web"
    )
