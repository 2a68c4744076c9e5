"""The flow `watch`, and what `prefect-batch watch` runs: files that arrive at a place make events and jobs.

In this order: a batch of files is recorded (an atomic create), its event is sent, its jobs are made, it is marked as
done. Whoever finds a batch that is not done goes on with it, with the same ids: the server knows a job that it has.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate
from prefect.exceptions import ObjectAlreadyExists

from ..blocks import store
from ..blocks.datastore import default_datastore, find_datastore, open_folder
from ..blocks.documents import merged
from ..blocks.endpoint import BatchEndpoint
from ..blocks.pipeline_deployment import PipelineDeployment
from ..scoring import scratch
from ..scoring.errors import InvalidDocument, NotFound
from ..scoring.storage import Folder
from . import jobs
from .arrivals import Arrivals, in_batches
from .events import send, was_sent
from .fitting import check_parameters
from .inputs import Wanted, is_below, name_pattern, stat_of
from .locations import Location, locate
from .request import route
from .watch_ledger import FOLDER, Batch, Ledger

ARRIVED = "prefect-batch.files.arrived"
_VARIABLE = "prefect_batch_watch_"
_WHERE = ("endpoint_url", "account_host", "host", "port")
"""Options of a datastore that say which server its URL is on."""


@dataclass(frozen=True)
class WatchSpec:
    """What to watch, and what to do about it."""

    place: str
    endpoint: str | None = None
    """To call; without, events are all that is made."""
    deployment: str | None = None
    include: list[str] = field(default_factory=list[str])
    exclude: list[str] = field(default_factory=list[str])
    settle: float = 10.0
    """Seconds that a file must not have changed for."""
    max_files: int = 1000
    """The most that one event and one job get."""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the calls, beside the data."""


@dataclass(frozen=True)
class Fired:
    """What came of a batch of files."""

    batch: Batch
    jobs: list[str]
    """Their ids."""

    def __str__(self) -> str:
        count = len(self.batch.files)
        files = "1 new file" if count == 1 else f"{count} new files"
        return f"{files}: job {', '.join(self.jobs)}" if self.jobs else f"{files}: event {self.batch.id}"


class Watcher:
    """Looks at a place, and fires once for each file in it.

    Args:
        client: of the Prefect server.
        spec: what to watch.
        clock: gives seconds.

    Raises NotFound, InvalidDocument for what could never work.
    """

    def __init__(self, client: SyncPrefectClient, spec: WatchSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._spec = client, spec
        if spec.settle < 0 or spec.max_files < 1:
            raise InvalidDocument("settle must be 0 or more, and max_files 1 or more")
        self._location = locate(spec.place, client)
        folder = _checked(self._location)
        self._digest = _digest(client, self._location, spec)
        self._state = _state_reference(client, self._digest)
        state = open_folder(self._state)
        if is_below(state, folder):
            raise InvalidDocument(f"{spec.place!r} holds {state.url}, which the watch writes to: watch a folder of it")
        if spec.endpoint is not None:
            self._check_call(spec.endpoint)
        _describe(state, self._location, spec)
        self._ledger = Ledger(state)
        self._arrivals = Arrivals(folder, Wanted(None, spec.include, spec.exclude), spec.settle, clock)

    @property
    def settling(self) -> bool:
        """Whether the last look met files that may not be complete."""
        return self._arrivals.settling

    def look(self) -> list[Fired]:
        """Fire for what is new and complete, and first for what an earlier look left. Raises BatchError, OSError."""
        self._ledger.refresh()
        fired = [self._fire(batch, again=True) for batch in self._ledger.left()]
        for files in in_batches(self._arrivals.look(self._ledger.is_new), self._spec.max_files):
            if (batch := self._ledger.record(files)) is not None:
                fired.append(self._fire(batch))
        return fired

    def _fire(self, batch: Batch, again: bool = False) -> Fired:
        if not (again and was_sent(self._client, batch.id)):
            self._send_event(batch)
        made: list[str] = []
        if (endpoint := self._spec.endpoint) is not None:
            for number, parameters in enumerate(self._calls(endpoint, batch)):
                key = f"{batch.id}-{number}" if number else str(batch.id)
                made.append(str(jobs.invoke(self._client, endpoint, parameters, idempotency_key=key).id))
        self._ledger.finish(batch, made)
        return Fired(batch, made)

    def _send_event(self, batch: Batch) -> None:
        labels = {"prefect-batch.place": self._location.reference}
        if self._spec.endpoint is not None:
            labels["prefect-batch.endpoint"] = self._spec.endpoint
        payload = {
            "batch": str(batch.id),
            "place": self._location.reference,
            "files": [file.name for file in batch.files],
            "include": [name_pattern(file.name) for file in batch.files],
            "count": len(batch.files),
            "bytes": sum(file.size or 0 for file in batch.files),
            "endpoint": self._spec.endpoint,
        }
        resource = {"prefect.resource.id": f"prefect-batch.watch.{self._digest}", **labels}
        send(self._client, ARRIVED, resource, payload, event_id=batch.id)

    def _check_call(self, endpoint: str) -> None:
        """Refuse a target that takes no such call, before there is a file."""
        jobs.find_endpoint(self._client, endpoint)
        name, _ = self._data_input(endpoint)
        parameters = self._with_data(name, f"{self._location.reference.rstrip('/')}/file")
        default = store.load(BatchEndpoint, endpoint, self._client).defaults.deployment_name
        check_parameters(self._client, endpoint, default, parameters, f"endpoint {endpoint}")

    def _data_input(self, endpoint: str) -> tuple[str, str]:
        """Name and type of the input that takes the files; the type is `files` for a model's."""
        found = route(self._client, endpoint, self._spec.deployment)
        if not isinstance(found, PipelineDeployment):
            return "data", "files"
        given: Mapping[str, Any] = self._spec.parameters.get("inputs") or {}
        inputs = found.interface.inputs
        names = [name for name, spec in inputs.items() if spec.type in ("uri_folder", "uri_file") and name not in given]
        if len(names) != 1:
            has = f"it has {', '.join(names)}: give the others by --set inputs.NAME.path=PATH" if names else "none is"
            raise InvalidDocument(f"{found.name!r} must have one data input left for the files: {has}")
        return names[0], inputs[names[0]].type

    def _with_data(self, name: str, data: Any) -> dict[str, Any]:
        more = {"deployment": self._spec.deployment} if self._spec.deployment else {}
        return merged(self._spec.parameters, {"inputs": {name: data}}) | more

    def _calls(self, endpoint: str, batch: Batch) -> list[dict[str, Any]]:
        """The parameters of a batch's jobs: one; of a pipeline that takes a file one for each."""
        name, kind = self._data_input(endpoint)
        place = self._location.reference
        if kind == "uri_file":
            return [self._with_data(name, f"{place.rstrip('/')}/{file.name}") for file in batch.files]
        if kind == "uri_folder":
            return [self._with_data(name, _copied(self._location.open(), batch, self._state))]
        include = [name_pattern(file.name) for file in batch.files]
        return [self._with_data(name, {"path": place, "include": include})]


def _checked(location: Location) -> Folder:
    """The folder to watch. Raises NotFound, InvalidDocument."""
    about = stat_of(location, "watch")
    folder = location.open()
    if about is None and folder.is_local:
        raise NotFound(f"watch: {location.given!r} does not exist (looked for {location.url}): make the folder first")
    if about is not None and not about.is_dir:
        raise InvalidDocument(f"watch: {location.given!r} is a file: name its folder, and the file with --include")
    return folder


def _digest(client: SyncPrefectClient, location: Location, spec: WatchSpec) -> str:
    """What makes two watches the same one: place, endpoint and filters."""
    options = find_datastore(client, location.datastore).options if location.datastore else {}
    where = {key: options[key] for key in _WHERE if key in options}
    key = [location.url.rstrip("/"), where, spec.endpoint, sorted(spec.include), sorted(spec.exclude)]
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _state_reference(client: SyncPrefectClient, digest: str) -> str:
    """Reference of the folder where the watch remembers.

    It stays where it was first, also when another datastore has become the default.
    """
    name = f"{_VARIABLE}{digest}"
    if (held := client.read_variable_by_name(name)) is None:
        try:
            reference = default_datastore(client).reference(f"{FOLDER}/{digest}")
            client.create_variable(VariableCreate(name=name, value=reference))
        except ObjectAlreadyExists:
            pass  # somebody was faster: theirs counts
        held = client.read_variable_by_name(name)
        assert held is not None
    return str(held.value)


def _describe(state: Folder, location: Location, spec: WatchSpec) -> None:
    about = {"place": location.url, "endpoint": spec.endpoint, "include": spec.include, "exclude": spec.exclude}
    if not state.exists("watch.json"):
        state.make().put("watch.json", json.dumps(about, indent=1).encode())


def _copied(source: Folder, batch: Batch, state: str) -> str:
    """A folder that holds the files of a batch and nothing else, for a pipeline that takes a whole folder."""
    reference = f"{state}/data/{batch.id}"
    target = open_folder(reference)
    with scratch.folder() as directory:
        names = [file.name for file in batch.files]
        copies = [directory / name for name in names]
        for error in source.fetch(names, copies):
            if error is not None:
                raise error
        for name, copy in zip(names, copies, strict=True):
            target.upload(copy, name)
    return reference


@flow(name="watch", validate_parameters=False, persist_result=False)
def watch(
    place: str,
    endpoint: str | None = None,
    deployment: str | None = None,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    settle: float = 10.0,
    max_files: int = 1000,
    parameters: dict[str, Any] | None = None,
) -> None:
    """Look at a place once, and call an endpoint for the files that are new and complete. To be scheduled.

    Args:
        place: The folder to watch, in any spelling.
        endpoint: To call; without, only the event is sent.
        deployment: Instead of the endpoint's default.
        include: Patterns of files that count; by default all.
        exclude: Patterns of files that do not.
        settle: Seconds that a file must not have changed for.
        max_files: The most that one job gets.
        parameters: Of the calls, beside the data: `settings`, other `inputs`.
    """
    logger: Any = get_run_logger()
    spec = WatchSpec(
        place, endpoint, deployment, include or [], exclude or [], settle, max_files, cast("Any", parameters or {})
    )
    with store.api() as client:
        for fired in look_once(Watcher(client, spec), settle):
            logger.info(str(fired))


def look_once(watcher: Watcher, settle: float) -> list[Fired]:
    """Fire for all that is complete now: what may not be is looked at again when it should have settled."""
    fired = watcher.look()
    if watcher.settling:
        time.sleep(settle)
        fired += watcher.look()
    return fired
