"""`prefect-batch watch`."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import httpx
from cyclopts import App, Parameter, Token

from ..blocks import store
from ..flows.watch import Fired, Watcher, WatchSpec, look_once
from ..scoring.errors import BatchError, InvalidDocument
from . import overrides, terminal
from .call import bring_within_reach, interface_of, reader, request
from .cli_options import Deployment, Endpoint, Exclude, Include, Set

app = App(name="watch")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _seconds(kind: object, tokens: Sequence[Token]) -> float:
    (token,) = tokens
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", token.value)
    if match is None:
        raise ValueError(f"{token.value!r} is no time: write as in 30s, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2]]


Seconds = Annotated[float, Parameter(converter=_seconds)]


@dataclass
class _Looks:
    """How often to look, and what to say."""

    interval: float
    settle: float

    def go_on(self, watcher: Watcher) -> None:
        """Look until the process is stopped; only the first look may fail."""
        _tell(watcher.look())
        while True:
            time.sleep(min(self.interval, self.settle) if watcher.settling else self.interval)
            try:
                _tell(watcher.look())
            except (BatchError, OSError, httpx.HTTPError) as error:
                terminal.note(f"Error: {error}: trying again in {self.interval:g} s")


@app.default
def watch(
    place: Annotated[str, Parameter(help="The folder: a path, URL, datastore or data asset.")],
    *,
    endpoint: Endpoint = None,
    deployment: Deployment = None,
    include: Include = [],  # noqa: B006
    exclude: Exclude = [],  # noqa: B006
    set: Set = [],  # noqa: B006
    interval: Annotated[Seconds, Parameter(help="Between two looks: as in 30s, 5m or 1h.")] = 30.0,
    settle: Annotated[Seconds, Parameter(help="How long a file must not have changed to be complete.")] = 10.0,
    max_files: Annotated[int, Parameter(help="The most that one job gets.")] = 1000,
    once: Annotated[bool, Parameter(help="Look once, and end.", negative=())] = False,
) -> None:
    """Call an endpoint for the files that arrive at a place, once for each; without --endpoint, only send an event.

    What was seen is remembered, so that it may be stopped (Ctrl-C) and started again at any time.

    Example: prefect-batch watch lake:incoming/ --endpoint heart --include '*.csv'
    """
    name = endpoint.lower() if endpoint else None
    if name is None and (set or deployment):
        raise InvalidDocument("--set and --deployment are for calls: name an --endpoint")
    reached = {"data": place}
    bring_within_reach({"inputs": reached}, None)  # a local path is taken from here
    signal.signal(signal.SIGTERM, _stopped)
    with store.api() as client:
        interface = interface_of(client, name, deployment) if name else None
        parameters = request(overrides.parse(set, read=reader(interface)), [], None, [], [], None, None)
        spec = WatchSpec(
            place=reached["data"],
            endpoint=name,
            deployment=deployment.lower() if deployment else None,
            include=include,
            exclude=exclude,
            settle=settle,
            max_files=max_files,
            parameters=parameters,
        )
        watcher = Watcher(client, spec)
        if once:
            _tell(look_once(watcher, settle))
        else:
            terminal.note(f"Watching {place}; Ctrl-C ends it")
            _Looks(interval, settle).go_on(watcher)


def _tell(fired: Sequence[Fired]) -> None:
    for one in fired:
        terminal.note(str(one))
        for job in one.jobs:
            terminal.result(job)


def _stopped(number: int, frame: object) -> None:
    """End in the ordinary way."""
    sys.exit(128 + number)
