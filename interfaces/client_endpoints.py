"""`client.batch_endpoints`: endpoints, and calls of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient

from ..blocks import store
from ..blocks.deployment import latest
from ..blocks.documents import merged
from ..blocks.endpoint import BatchEndpoint as EndpointBlock
from ..blocks.endpoint import parse_endpoint
from ..blocks.interface import LITERALS, Interface
from ..flows import catalog, jobs
from ..scoring.errors import InvalidDocument
from . import views
from .call import interface_of, request, send, unseen
from .connection import Connection
from .entities import BatchEndpoint, Input, Output, Place
from .entity import Asset, plain
from .job import Job
from .loading import nested
from .poller import Poller

Value = Input | Asset | Place | bool | int | float | Mapping[str, Any] | Sequence[Place]
"""What an input may be given as."""
_ALSO = {"compute.instance_count": "instance_count", "resources.instance_count": "instance_count"}
"""Settings by other names that Azure ML's SDK has for them."""


class BatchEndpointOperations:
    """Endpoints, and calls of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin_create_or_update(self, endpoint: BatchEndpoint) -> Poller[BatchEndpoint]:
        """Make an endpoint, or bring an existing one up to date with what is given of it.

        Raises InvalidDocument, NotFound for a default deployment that does not exist.
        """
        block = parse_endpoint(endpoint.document(), str(endpoint.source or "endpoint"))
        with self._connection.open() as client:
            return Poller(_shown(client, catalog.create_endpoint(client, block)))

    def get(self, name: str) -> BatchEndpoint:
        """An endpoint. Raises NotFound."""
        with self._connection.open() as client:
            return _shown(client, store.load(EndpointBlock, name.lower(), client))

    def list(self) -> list[BatchEndpoint]:
        """All endpoints, by name."""
        with self._connection.open() as client:
            return [_shown(client, block) for block in store.list_all(EndpointBlock, client)]

    def begin_delete(self, name: str) -> Poller[None]:
        """Delete an endpoint and all its deployments; past jobs and their outputs stay. Raises NotFound."""
        with self._connection.open() as client:
            catalog.delete_endpoint(client, name.lower())
        return Poller(None)

    def list_jobs(self, endpoint_name: str, max_results: int = 50) -> list[Job]:
        """An endpoint's jobs, the newest first. Raises NotFound."""
        with self._connection.open() as client:
            jobs.find_endpoint(client, endpoint_name.lower())
            found = jobs.newest_jobs(client, endpoint_name.lower(), max_results)
        return [Job.of(self._connection, run) for run in found]

    def invoke(
        self,
        endpoint_name: str,
        *,
        deployment_name: str | None = None,
        inputs: Mapping[str, Value] | None = None,
        input: Value | None = None,
        outputs: Mapping[str, Output | Place] | None = None,
        settings: Mapping[str, Any] | None = None,
        params_override: Sequence[Mapping[str, Any]] | None = None,
        job_name: str | None = None,
        experiment_name: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Call an endpoint; returns at once with the job that this makes.

        A relative path starts in the working directory. Local data is uploaded where the default datastore is not a
        local folder.

        Args:
            endpoint_name: which to call.
            deployment_name: instead of the endpoint's default.
            inputs: data and literal values by name; of a model deployment one, under any name.
            input: the only data input.
            outputs: places for outputs, by name.
            settings: what this job overrides of the deployment's settings.
            params_override: the same as Azure ML's SDK takes it: `[{"retry_settings.timeout": 60}]`.
            job_name: what people call the job; by default a name made up.
            experiment_name: kept as a tag of the job.
            idempotency_key: a call with the key of an earlier one gets that one's job.

        Raises NotFound, InvalidDocument.
        """
        given, name = _overrides(settings, params_override)
        with self._connection.open() as client:
            interface = interface_of(client, endpoint_name.lower(), deployment_name)
            given |= {
                "inputs": _inputs(inputs, interface),
                "outputs": {key: plain(o) for key, o in (outputs or {}).items()},
            }
            data, filters = _data(input)
            parameters = request(given, data, *filters, None, interface)
            run = send(
                client,
                endpoint_name,
                deployment_name,
                interface,
                parameters,
                where="settings",
                bar=unseen,
                job_name=job_name or name,
                experiment_name=experiment_name,
                idempotency_key=idempotency_key,
            )
        return Job.of(self._connection, run)


def _shown(client: SyncPrefectClient, block: EndpointBlock) -> BatchEndpoint:
    return BatchEndpoint.told(views.of_endpoint(block, latest(client, block.name)))


def _overrides(
    settings: Mapping[str, Any] | None, params_override: Sequence[Mapping[str, Any]] | None
) -> tuple[dict[str, Any], str | None]:
    """The settings of a call, and the job's name where it stands among them."""
    flat = {
        _ALSO.get(key, key).removeprefix("settings."): value
        for each in params_override or []
        for key, value in each.items()
    }
    name = flat.pop("job_name", None)
    return merged(cast("dict[str, Any]", plain(settings or {})), nested([flat])), name


def _inputs(inputs: Mapping[str, Value] | None, interface: Interface | None) -> dict[str, Any]:
    """Inputs as a request has them."""
    for name, value in (inputs or {}).items():
        if interface is None and isinstance(value, Input) and (value.type in LITERALS or value.default is not None):
            raise InvalidDocument(
                f"inputs.{name} is a literal value, and a model deployment takes those under params: "
                f"inputs={{'params': {{'{name}': {value.default!r}}}, ...}}"
            )
    return {name: plain(value) for name, value in (inputs or {}).items()}


def _data(given: Value | None) -> tuple[list[str], tuple[str | None, list[str], list[str]]]:
    """The only data input as `--input` and its filters say it: places; type, include, exclude."""
    if given is None:
        return [], (None, [], [])
    held = given if isinstance(given, Input) else Input(path=cast("Place", given))
    path = plain(held.path)
    if not path or not all(isinstance(place, str) for place in _listed(path)):
        raise InvalidDocument(f"input: {given!r} names no data: give a path, a list of paths, or Input(path=...)")
    return _listed(path), (held.type, _listed(held.include), _listed(held.exclude))


def _listed(value: Any) -> list[Any]:
    return [] if value is None else cast("list[Any]", value) if isinstance(value, list) else [value]
