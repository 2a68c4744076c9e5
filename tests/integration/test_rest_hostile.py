"""Whatever is sent to the gateway, it answers for what it is: never with a 500, never with a job too many."""

from __future__ import annotations

import asyncio
import json
import random
import string
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hypothesis
import pytest
import rest_gateway
import schemathesis
from endpoints import Endpoints
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from prefect.client.orchestration import get_client
from rest_gateway import UNLIMITED

from prefect_batch.blocks.datastore import default_datastore
from prefect_batch.flows import jobs
from prefect_batch.interfaces.rest import create_app
from prefect_batch.interfaces.rest_settings import GatewaySettings

BODIES, THAT_REACH_THE_SERVER = 10_000, 100
CALLS, KEYS = 200, 40


@pytest.fixture(scope="module")
def endpoint(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An endpoint whose jobs no worker takes."""
    return rest_gateway.deploy_unserved(endpoints, tmp_path_factory.mktemp("hostile"), "hostile")


@pytest.fixture(scope="module")
def place(endpoints: Endpoints) -> str:
    with get_client(sync_client=True) as client:
        return f"azureml://datastores/{default_datastore(client).name}/paths/hostile"


class Bodies:
    """Bodies of calls that are none, always the same ones."""

    def __init__(self, place: str) -> None:
        self._random = random.Random(5)
        data = {"JobInputType": "UriFolder", "Uri": place}
        out = {"JobOutputType": "UriFolder", "Uri": f"{place}-out"}
        self._good = [
            {"properties": {"InputData": {"data": data}, "OutputData": {"score": out}, "MiniBatchSize": 3}},
            {"inputs": {"data": {"path": place}}, "outputs": {"score": out}, "settings": {"mini_batch_size": 3}},
        ]

    def broken(self) -> bytes:
        """What the gateway refuses by itself."""
        kinds: list[Callable[[], bytes]] = [self._cut, self._noise, self._misspelt, self._mistyped, self._poisoned]
        return self._random.choice(kinds)()

    def _good_one(self) -> Any:
        return json.loads(json.dumps(self._random.choice(self._good)))

    def _cut(self) -> bytes:
        text = json.dumps(self._good_one()).encode()
        return text[: self._random.randrange(1, len(text))]

    def _noise(self) -> bytes:
        if self._random.random() < 0.5:
            return b"\x01" + self._random.randbytes(self._random.randrange(0, 200))
        letters = "{}[]:,\"\\'0123456789.eE+-truefalsn \t\n\u00e9\u2028"
        return ("{" + "".join(self._random.choices(letters, k=self._random.randrange(0, 200))) + "}:").encode()

    def _misspelt(self) -> bytes:
        body = self._good_one()
        held = body["properties"] if "properties" in body and self._random.random() < 0.5 else body
        key = "".join(self._random.choices(string.printable, k=self._random.randrange(1, 40))) + "?"
        held[key] = self._value()
        return json.dumps(body).encode()

    def _mistyped(self) -> bytes:
        azure = {"InputData": self._good[0]["properties"]["InputData"]}
        wrong: Any = self._random.choice([5, -1.5, True, "text", [], [[]], [{}], ["a", 1]])
        named = self._random.choice([wrong, {"JobInputType": wrong, "Uri": "x"}, {"JobInputType": "UriFile", "Uri": 5}])
        return json.dumps(
            self._random.choice(
                [
                    wrong,
                    {"properties": wrong},
                    {"inputs": wrong},
                    {"outputs": wrong},
                    {"settings": wrong},
                    {"inputs": {}, "deployment": [wrong]},
                    {"inputs": {}, "name": [wrong]},
                    {"properties": {"InputData": wrong}},
                    {"properties": {"InputData": {"data": named}}},
                    {"properties": {**azure, "OutputData": {"score": wrong}}},
                    {"properties": {**azure, "RetrySettings": wrong}},
                    {"properties": {**azure, "Compute": wrong}},
                    {"properties": {**azure, "RetrySettings": {"Timeout": "P" + str(wrong)}}},
                    {"properties": {**azure, "Name": [wrong]}},
                ]
            )
        ).encode()

    def _poisoned(self) -> bytes:
        text = json.dumps(self._good_one())
        poison = ["NaN", "-Infinity", "1e400", "9" * 30, "9" * 5000, '"\\ud800"', '"\\u0000"', "[" * 500, '{"a":' * 40]
        closing = {"[" * 500: "]" * 500, '{"a":' * 40: "0" + "}" * 40}
        chosen = self._random.choice(poison)
        return (text[:-1] + ', "settings": ' + chosen + closing.get(chosen, "") + "}").encode()

    def fuzzy(self) -> bytes:
        """What only the endpoint's own schema can tell: values of any kind, at any place."""
        inputs = {self._text(): self._value() for _ in range(self._random.randrange(1, 3))}
        body: dict[str, Any] = {"inputs": inputs}
        if self._random.random() < 0.5:
            body["outputs"] = {self._text(): self._value()}
        if self._random.random() < 0.5:
            body["settings"] = {self._random.choice(["mini_batch_size", "retry_settings", self._text()]): self._value()}
        return json.dumps(body).encode()

    def _text(self) -> str:
        return "".join(
            self._random.choices("ab./\\:%?*[]{}$'\"\u00e9\u4e2d\U0001f600 -", k=self._random.randrange(0, 12))
        )

    def _value(self, depth: int = 3) -> Any:
        kinds: list[Callable[[], Any]] = [
            self._text,
            lambda: self._random.choice([None, True, 0, -1, 2**62, 1e300, -0.0, "", "models:/", "azureml:x@latest"]),
            lambda: [self._value(depth - 1) for _ in range(self._random.randrange(3))],
            lambda: {self._text(): self._value(depth - 1) for _ in range(self._random.randrange(3))},
            lambda: {"path": self._value(depth - 1), "type": self._text()},
        ]
        return self._random.choice(kinds[:2] if depth <= 0 else kinds)()


async def send(app: FastAPI, path: str, body: bytes) -> tuple[int, bytes]:
    """POST a body straight to the application."""
    headers = [(b"content-type", b"application/json"), (b"host", b"gateway")]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers}
    scope |= {"client": ("127.0.0.1", 5), "server": ("gateway", 80)}
    parts = [body[: len(body) // 2], body[len(body) // 2 :]]
    answer: dict[str, Any] = {"body": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def keep(message: Any) -> None:
        answer["status"] = message.get("status", answer.get("status"))
        answer["body"] += message.get("body", b"")

    await app(scope, receive, keep)
    return answer["status"], answer["body"]


def test_bodies_that_are_no_calls(endpoint: str, place: str):
    app = create_app(GatewaySettings.model_validate(UNLIMITED))
    bodies, path = Bodies(place), f"/endpoints/{endpoint}/jobs"
    told: Counter[int] = Counter()

    async def check(body: bytes) -> None:
        status, answer = await send(app, path, body)
        told[status] += 1
        assert status in (201, 400, 403, 422), f"{status}: {body[:300]!r}: {answer[:300]!r}"
        if status != 201:
            error = json.loads(answer)["error"]
            assert error["code"] and "\n" not in error["message"], f"{body[:300]!r}: {answer[:300]!r}"

    async def check_all() -> None:
        async with app.router.lifespan_context(app):
            for _ in range(BODIES - THAT_REACH_THE_SERVER):
                await check(bodies.broken())
            assert told[201] == told[403] == 0
            reach = asyncio.Semaphore(8)

            async def one(body: bytes) -> None:
                async with reach:
                    await check(body)

            await asyncio.gather(*(one(bodies.fuzzy()) for _ in range(THAT_REACH_THE_SERVER)))

    asyncio.run(check_all())
    assert told.total() == BODIES and told[400] > 1000 and told[422] > 1000


def test_many_calls_at_once(endpoints: Endpoints, endpoint: str, place: str):
    """Each call without a key makes one job, as does each key, however many calls bring it at once."""
    with get_client(sync_client=True) as client:
        before = {run.id for run in jobs.list_jobs(client, endpoint, 200)}
    keys: list[str | None] = [uuid.uuid4().hex for _ in range(KEYS)] * 2
    keys += [None] * (CALLS - len(keys))
    random.Random(7).shuffle(keys)
    with rest_gateway.gateway() as http, ThreadPoolExecutor(50) as threads:

        def call(key: str | None) -> tuple[str | None, int, str]:
            headers = {"Idempotency-Key": key} if key else {}
            answer = http.post(f"/endpoints/{endpoint}/jobs", json={"input": place}, headers=headers)
            while answer.status_code == 503:  # SQLite had no time for it: nothing was made
                time.sleep(float(answer.headers["retry-after"]))
                answer = http.post(f"/endpoints/{endpoint}/jobs", json={"input": place}, headers=headers)
            return key, answer.status_code, answer.json().get("id", answer.text)

        answers = list(threads.map(call, keys))
    assert {status for _, status, _ in answers} <= {200, 201}, answers
    assert all(status == 201 for key, status, _ in answers if key is None)
    of_key = {key: {job for other, _, job in answers if other == key} for key in keys if key}
    assert all(len(found) == 1 for found in of_key.values())
    made = {job for _, _, job in answers}
    assert len(made) == CALLS - KEYS
    with get_client(sync_client=True) as client:
        there = {run.id for offset in (0, 200) for run in jobs.list_jobs(client, endpoint, 200, offset)}
    assert {str(job) for job in there - before} == made


bounded = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("whose", ["gateway", "endpoint"])
def test_what_the_documents_say(endpoint: str, whose: str):
    """Each operation with whatever its document allows and forbids: every answer is one that it tells of."""
    path = "/openapi.json" if whose == "gateway" else f"/endpoints/{endpoint}/openapi.json"
    with rest_gateway.gateway({"tester": "read:* invoke:* manage:*"}) as http:
        url = f"{str(http.base_url).rstrip('/')}{path}"
        document = schemathesis.openapi.from_url(url, headers=rest_gateway.bearer("tester"))
        operations = [found.ok() for found in document.get_all_operations()]
        assert len(operations) == (12 if whose == "gateway" else 9)  # without the one that the document came from
        for operation in operations:
            for mode in schemathesis.GenerationMode:
                check(operation, mode)


_NOT_SAID = [
    # Values that fit the document may still name data that is not there.
    schemathesis.checks.positive_data_acceptance,
    # Query parameters that nothing knows pass, and the token is always sent.
    schemathesis.checks.negative_data_rejection,
]


def check(operation: Any, mode: schemathesis.GenerationMode) -> None:
    @bounded
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        case.call_and_validate(headers=rest_gateway.bearer("tester"), excluded_checks=_NOT_SAID)

    try:
        run()
    except hypothesis.errors.Unsatisfiable:
        assert mode.is_negative  # nothing that could be sent wrong
