"""Why the server refused a call, as one who does not know the schema understands it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient

from ..blocks.documents import validate
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.pipeline_settings import JobPipelineSettings
from ..scoring.errors import InvalidDocument, NotFound
from .pipeline_call import check_inputs, check_outputs
from .request import named_inputs, route

_MISSING = {
    "inputs": "inputs: nothing was given: name the data with --input",
    "input": "inputs: nothing was given: name the data with --input",
    "deployment": "deployment: nothing was given: the endpoint has no default, so name one with --deployment, or set a "
    "default with `prefect-batch endpoint update ENDPOINT --default NAME`",
}


def refused(
    client: SyncPrefectClient, endpoint: str, parameters: Mapping[str, Any], detail: str
) -> InvalidDocument | NotFound:
    """The error to raise for a call that the server's validation refused.

    Args:
        client: of the Prefect server.
        endpoint: that was called.
        parameters: of the call.
        detail: what the server said.
    """
    return _own_words(client, endpoint, parameters) or InvalidDocument(_readable(detail))


def _own_words(
    client: SyncPrefectClient, endpoint: str, parameters: Mapping[str, Any]
) -> InvalidDocument | NotFound | None:
    """What the check of the job itself says of a call; None where it finds nothing.

    Of a model's, only whether the data is given twice.
    """
    parts: dict[str, Any] = {group: parameters.get(group) or {} for group in ("inputs", "outputs", "settings")}
    if not all(isinstance(part, Mapping) for part in parts.values()):
        return None
    try:
        found = route(client, endpoint, parameters.get("deployment"))
        inputs = named_inputs(found, parameters.get("input"), cast("Mapping[str, Any]", parts["inputs"]))
        if isinstance(found, PipelineDeployment):
            check_inputs(found.interface, inputs)
            check_outputs(found.interface, cast("Mapping[str, Any]", parts["outputs"]))
            validate(JobPipelineSettings, cast("Mapping[str, Any]", parts["settings"]), "settings")
    except InvalidDocument as error:
        return error
    except NotFound as error:
        return error if parameters.get("deployment") else None
    return None


def _readable(detail: str) -> str:
    match = re.search(
        r"Validation failed(?: for field '(?P<field>[^']*)')?\.\s*(?:Failure reason: )?(?P<why>.*)", detail
    )
    if match is None:
        return detail
    why = match["why"]
    if (required := re.fullmatch(r"'(\w+)' is a required property", why)) and required[1] in _MISSING:
        why = _MISSING[required[1]]
    elif why.endswith("is not valid under any of the given schemas") and match["field"].startswith(
        ("input", "outputs")
    ):
        why = why.removesuffix("is not valid under any of the given schemas")
        why += "is not understood: give a path, or a mapping with path and perhaps type"
    return f"{match['field']}: {why}" if match["field"] else why
