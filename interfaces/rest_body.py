"""The body of a call: Azure ML's JobInputType and Uri under `properties`, or plainly `inputs`, `outputs`, `settings`.

Keys that the gateway knows are taken in any case, as Azure ML takes them; names of inputs and outputs are the
caller's own. What values fit is for the endpoint's own schema to say.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn, cast

from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..blocks.documents import did_you_mean
from ..flows.inputs import PARAMS
from ..scoring.errors import InvalidDocument

Body = dict[str, Any]
_DEEPEST = 32
_TEMPLATE = "__prefect_kind"
"""Of a mapping that Prefect's server would replace: by one of its variables, or by what a template makes."""
_MOST_NAMES = 200
_MOST_VALUES = 10_000
"""Keys count, too. The server holds each value to a schema, one call after the other."""
_DATA = {
    "urifolder": "uri_folder",
    "urifile": "uri_file",
    "custommodel": "custom_model",
    "mlflowmodel": "mlflow_model",
    "tritonmodel": "triton_model",
}
_LITERAL = "literal"
_PLAIN = {"input", "inputs", "outputs", "settings", "deployment", "name"}
_SETTINGS = {
    "minibatchsize": "mini_batch_size",
    "errorthreshold": "error_threshold",
    "outputfilename": "output_file_name",
    "maxconcurrencyperinstance": "max_concurrency_per_instance",
    "logginglevel": "logging_level",
}
_IGNORED = {"properties", "description", "tags", "experimentname"}
_AZURE = {"inputdata", "outputdata", "compute", "retrysettings", "name", "displayname", *_SETTINGS, *_IGNORED}


@dataclass
class Call:
    """What a body asks for. Literals are {JobInputType, Value} or as they came."""

    input: Any = None
    """The data of a model, which a call need not name."""
    inputs: Body = field(default_factory=dict[str, Any])
    outputs: Body = field(default_factory=dict[str, Any])
    settings: Body = field(default_factory=dict[str, Any])
    deployment: str | None = None
    name: str | None = None


async def read_json(request: Request, most: int, seconds: float) -> Body:
    """A request's body as a mapping; an empty one is an empty mapping.

    Args:
        request: whose Content-Type must be JSON: no page of another site may send that without being asked.
        most: bytes.
        seconds: in which the body must have arrived.

    Raises HTTPException 400, 408, 413, 415, InvalidDocument.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send the body as JSON, with the header Content-Type: application/json")
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                data += part
                if len(data) > most:
                    raise HTTPException(413, f"the body is larger than {most} bytes: point to data, do not send it")
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {seconds:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body did not arrive") from None
    return parse_json(bytes(data))


def parse_json(data: bytes) -> Body:
    """A body as a mapping that any JSON library and any database takes. Raises HTTPException 400, InvalidDocument."""
    if not data.strip():
        return {}
    try:
        body = json.loads(data.decode(), parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # among them UnicodeDecodeError
        raise HTTPException(400, f"the body is not valid JSON: {_shortened(str(error))}") from None
    if not isinstance(body, dict):
        raise InvalidDocument("the body must be a JSON object")
    _check(body)
    return cast("Body", body)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> Body:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def _check(body: Any) -> None:
    """Refuse what Python reads as JSON and others do not. Raises InvalidDocument."""
    level: list[Any] = [body]
    count = 0
    for _ in range(_DEEPEST):
        below: list[Any] = []
        count += len(level)
        for value in level:
            if count + len(below) > _MOST_VALUES:
                raise InvalidDocument(f"the body holds more than {_MOST_VALUES} values: point to data, do not send it")
            if isinstance(value, dict):
                if _TEMPLATE in value:
                    raise InvalidDocument(f"the body holds a key {_TEMPLATE}, which is not taken here")
                below += [*cast("Body", value), *cast("Body", value).values()]
            elif isinstance(value, list):
                below += cast("list[Any]", value)
            elif isinstance(value, str):
                _check_text(value)
            elif isinstance(value, int) and abs(value) >= 2**63:
                raise InvalidDocument("the body holds a whole number of more than 64 bits")
            elif isinstance(value, float) and not math.isfinite(value):
                raise InvalidDocument("the body holds a number that is too large")
        level = below
    if level:
        raise InvalidDocument(f"the body is nested more than {_DEEPEST} deep")


def _check_text(text: str) -> None:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidDocument("the body holds a text with a character that no text may have")


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]} ..."


def read_call(body: Body, deployment: str | None = None) -> Call:
    """A call in either form.

    Args:
        body: as it came.
        deployment: what the header azureml-model-deployment says.

    Raises InvalidDocument.
    """
    given = lowered(body, "the body")
    call = _azure(_mapping(given["properties"], "properties")) if set(given) == {"properties"} else _plain(given)
    if deployment and call.deployment and deployment.lower() != call.deployment:
        raise InvalidDocument("the header azureml-model-deployment and `deployment` name different deployments")
    call.deployment = deployment.lower() if deployment else call.deployment
    return call


def _plain(given: Body) -> Call:
    check_keys(given, _PLAIN, "")
    inputs, outputs, settings = (_mapping(given.get(group), group) for group in ("inputs", "outputs", "settings"))
    deployment = text_at(given, "deployment")
    return Call(
        input=None if given.get("input") is None else _pointer(given["input"], "input", "jobinputtype", False),
        inputs={name: _pointer(value, f"inputs.{name}", "jobinputtype", False) for name, value in inputs.items()},
        outputs={name: _pointer(value, f"outputs.{name}", "joboutputtype", False) for name, value in outputs.items()},
        settings=settings,
        deployment=deployment.lower() if deployment else None,
        name=text_at(given, "name"),
    )


def _azure(properties: Body) -> Call:
    given = lowered(properties, "properties")
    check_keys(given, _AZURE, "properties.")
    settings = {ours: given[theirs] for theirs, ours in _SETTINGS.items() if given.get(theirs) is not None}
    if isinstance(level := settings.get("logging_level"), str):
        settings["logging_level"] = level.lower()
    compute = lowered(_mapping(given.get("compute"), "properties.compute"), "properties.compute")
    if compute.get("instancecount") is not None:
        settings["instance_count"] = compute["instancecount"]
    if retries := _retry_settings(given.get("retrysettings")):
        settings["retry_settings"] = retries
    inputs, outputs = (_mapping(given.get(group), f"properties.{group}") for group in ("inputdata", "outputdata"))
    return Call(
        inputs={name: _pointer(value, f"InputData.{name}", "jobinputtype", True) for name, value in inputs.items()},
        outputs={name: _pointer(value, f"OutputData.{name}", "joboutputtype", True) for name, value in outputs.items()},
        settings=settings,
        name=text_at(given, "name") or text_at(given, "displayname"),
    )


def _retry_settings(value: Any) -> Body:
    where = "properties.RetrySettings"
    given = lowered(_mapping(value, where), where)
    check_keys(given, {"maxretries", "timeout"}, f"{where}.")
    made = {"max_retries": given["maxretries"]} if given.get("maxretries") is not None else {}
    if (timeout := given.get("timeout")) is not None:
        made["timeout"] = _seconds(timeout, f"{where}.timeout")
    return made


def _seconds(value: Any, where: str) -> Any:
    """`PT30S` is 30."""
    if not (isinstance(value, str) and value[:1] == "P"):
        return value
    try:
        return TypeAdapter(timedelta).validate_python(value).total_seconds()
    except (ValidationError, OverflowError):
        raise InvalidDocument(f"{where}: {_shortened(repr(value))} is no duration: write PT30S, or 30") from None


def _pointer(value: Any, where: str, type_key: str, typed: bool) -> Any:
    """A place as {path, type}, a literal as {JobInputType, Value}; what is in neither form as it came.

    Args:
        value: of one input or output.
        where: its name, for messages.
        type_key: jobinputtype or joboutputtype.
        typed: whether it must be in Azure ML's form.
    """
    given = {str(key).lower(): held for key, held in cast("Body", value).items()} if isinstance(value, Mapping) else {}
    if type_key not in given:
        if typed:
            raise InvalidDocument(f'{where}: must be an object such as {{"JobInputType": "UriFolder", "Uri": "..."}}')
        return cast("Any", value)
    given = lowered(cast("Body", value), where)
    kind = re.sub("[_ -]", "", str(given[type_key])).lower()
    if kind == _LITERAL and type_key == "jobinputtype":
        check_keys(given, {type_key, "value"}, f"{where}.")
        if "value" not in given:
            raise InvalidDocument(f"{where}.Value is missing")
        return {"JobInputType": "Literal", "Value": given["value"]}
    if kind not in _DATA:
        raise InvalidDocument(f"{where}: {_shortened(str(given[type_key]))!r} is not supported: use UriFolder, UriFile")
    check_keys(given, {type_key, "uri", "mode"}, f"{where}.")
    uri = given.get("uri")
    if (uri is None and type_key == "jobinputtype") or (uri is not None and not (isinstance(uri, str) and uri)):
        raise InvalidDocument(f"{where}.Uri: must be a text, the place of the data")
    mode = {} if given.get("mode") is None else {"mode": given["mode"]}
    return {"type": _DATA[kind], **({"path": uri} if uri else {}), **mode}


def params_of(inputs: Body) -> Body:
    """The inputs of a model: Azure ML's literals, of which it takes none, are its parameters by name."""
    mappings = {name: cast("Body", value) for name, value in inputs.items() if isinstance(value, Mapping)}
    literals = {name: value["Value"] for name, value in mappings.items() if "JobInputType" in value}
    if not literals:
        return inputs
    held = _mapping(inputs.get(PARAMS), "inputs.params")
    rest = {name: value for name, value in inputs.items() if name not in literals}
    return rest | {PARAMS: {**held, **literals}}


def lowered(given: Body, where: str) -> Body:
    """The same with keys in lower case. Raises InvalidDocument where two fall together."""
    made = {key.lower(): value for key, value in given.items()}
    if len(made) < len(given):
        raise InvalidDocument(f"{where}: a key stands twice, in different case")
    return made


def check_keys(given: Body, known: set[str], where: str) -> None:
    """Refuse keys that nothing knows. Raises InvalidDocument."""
    for key in given:
        if key not in known:
            close = did_you_mean(key[:100], known)
            raise InvalidDocument(
                f"{where}{_shortened(key)} is not a known key: {close or 'known are ' + ', '.join(sorted(known))}"
            )


def text_at(given: Body, key: str) -> str | None:
    """The text under a key; None where there is none. Raises InvalidDocument for what is no text."""
    value = given.get(key)
    if value is None or (isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()):
        return value
    raise InvalidDocument(f"{key}: must be a text of 1 to 200 letters on one line")


def _mapping(value: Any, where: str) -> Body:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidDocument(f"{where}: must be an object")
    if len(cast("Body", value)) > _MOST_NAMES or any(len(key) > 255 for key in cast("Body", value)):
        raise InvalidDocument(f"{where}: must have {_MOST_NAMES} names at most, of 255 letters at most")
    return cast("Body", value)
