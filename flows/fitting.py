"""Whether parameters that will call an endpoint later fit it: Prefect itself looks only when it makes the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient
from prefect.utilities.schema_tools.validation import ValidationError, validate

from ..blocks.deployment import latest
from ..blocks.documents import did_you_mean
from ..blocks.trigger import templates
from ..scoring.errors import InvalidDocument
from .parameters import parameter_schema
from .refusal import refused


def check_parameters(
    client: SyncPrefectClient, endpoint: str, default: str | None, parameters: Mapping[str, Any], where: str
) -> None:
    """Check the parameters of a schedule or of a trigger. Raises InvalidDocument.

    Of an endpoint without deployments only the names of the parameters are known. What a trigger fills in from an
    event is not known before there is one; the rest is checked.

    Args:
        client: of the Prefect server.
        endpoint: that will be called.
        default: its default deployment.
        parameters: of the calls.
        where: what they belong to, named first in errors.
    """
    deployments = latest(client, endpoint)
    schema = parameter_schema(deployments.get(default or ""), deployments)
    for name, value in parameters.items():
        if name not in schema["properties"]:
            known = f"known are {', '.join(schema['properties'])}"
            raise InvalidDocument(
                f"{where}: {name} is no parameter of an endpoint: {did_you_mean(name, schema['properties']) or known}"
            )
        if name in ("inputs", "outputs", "settings") and not isinstance(value, Mapping) and not _is_filled_in(value):
            raise InvalidDocument(f"{where}: {name} must be a mapping of names to values")
    if not deployments:
        return
    try:
        if any(templates(parameters)):
            _check_what_is_known(parameters, schema)
        else:
            validate(dict(parameters), schema, raise_on_error=True)
    except ValidationError as error:
        cause = refused(client, endpoint, parameters, str(error))
        raise InvalidDocument(f"{where}: {cause}") from None


def _is_filled_in(value: Any) -> bool:
    return any(templates(value))


def _check_what_is_known(parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise ValidationError for the first error that no event could mend."""
    for error in validate(dict(parameters), cast("Any", schema)):
        missing = error.validator == "required" and not error.absolute_path
        if missing or not _is_filled_in(json.loads(json.dumps(error.instance, default=str))):
            field = ".".join(map(str, error.absolute_path))
            at = f" for field {field!r}" if field else ""
            raise ValidationError(f"Validation failed{at}. Failure reason: {error.message}")
