"""The REST gateway on a real Prefect server: calls, jobs, outputs, grants, errors."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import rest_gateway
import yaml
from endpoints import Endpoints
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from rest_gateway import bearer

from prefect_batch.blocks.datastore import default_datastore
from prefect_batch.interfaces.local_server import free_port

PLACE = "azureml://datastores/{}/paths/rest"


@pytest.fixture(scope="module")
def store(endpoints: Endpoints) -> tuple[str, Path]:
    """The default datastore's name, and a folder in it with two files of text."""
    with get_client(sync_client=True) as client:
        found = default_datastore(client)
    folder = Path(found.folder.path) / "rest"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        (folder / f"item-{number}.txt").write_text(str(number))
    return found.name, folder


@pytest.fixture(scope="module")
def place(store: tuple[str, Path]) -> str:
    return PLACE.format(store[0])


def deployed(endpoints: Endpoints, folder: Path) -> str:
    """An endpoint with two deployments of a script; no worker takes its jobs."""
    return rest_gateway.deploy_unserved(endpoints, folder, "rest", ("second", "first"))


@pytest.fixture(scope="module")
def model(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An endpoint of which only the name matters, and the deployments."""
    return deployed(endpoints, tmp_path_factory.mktemp("model"))


@pytest.fixture
def fresh(endpoints: Endpoints, tmp_path: Path) -> str:
    """An endpoint without jobs."""
    return deployed(endpoints, tmp_path)


@pytest.fixture(scope="module")
def pipeline(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An endpoint with a pipeline that takes data and literals; no worker takes its jobs."""
    inputs = {
        "data": {"type": "uri_folder"},
        "mode": {"type": "string", "enum": ["append", "prediction_only"], "default": "append"},
        "folds": {"type": "integer", "min": 1, "max": 9, "default": 3},
        "exact": {"type": "boolean", "default": False},
    }
    step = {
        "type": "command",
        "component": {
            "type": "command",
            "inputs": {"data": {"type": "uri_folder"}},
            "outputs": {"scores": {"type": "uri_folder"}},
            "command": "cp ${{inputs.data}}/* ${{outputs.scores}}/",
        },
        "inputs": {"data": "${{parent.inputs.data}}"},
        "outputs": {"scores": "${{parent.outputs.scores}}"},
    }
    component = {"type": "pipeline", "inputs": inputs, "outputs": {"scores": {}}, "jobs": {"copy": step}}
    document = {"name": "steps", "endpoint_name": "unused", "type": "pipeline", "component": component}
    path = tmp_path_factory.mktemp("pipeline") / "pipeline.yml"
    path.write_text(yaml.safe_dump(document))
    name = rest_gateway.new_name("steps")
    endpoints.deploy(path, name)
    rest_gateway.leave_unserved(name)
    return name


@pytest.fixture(scope="module")
def http(endpoints: Endpoints) -> Iterator[httpx.Client]:
    with rest_gateway.gateway() as client:
        yield client


def parameters(endpoints: Endpoints, job: str) -> dict[str, Any]:
    found = dict(endpoints.read(uuid.UUID(job)).parameters)
    assert found.pop("caller") == "anonymous"
    del found["endpoint"]
    return found


def seed(**inputs: Any) -> dict[str, Any]:
    return {"properties": {"InputData": inputs}}


def test_the_documented_bodies(http: httpx.Client, endpoints: Endpoints, model: str, pipeline: str, place: str):
    folder = {"JobInputType": "UriFolder", "Uri": place}
    output = {"JobOutputType": "UriFolder", "Uri": f"{place}-out"}
    as_sent: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        (model, seed(heart_dataset=folder), {"inputs": {"heart_dataset": {"path": place, "type": "uri_folder"}}}),
        (
            model,
            {"PROPERTIES": {"inputdata": {"d": {"JOBINPUTTYPE": "urifile", "uri": f"{place}/item-0.txt"}}}},
            {"inputs": {"d": {"path": f"{place}/item-0.txt", "type": "uri_file"}}},
        ),
        (
            model,
            {"properties": {"InputData": {"d": folder}, "OutputData": {"score": output}, "miniBatchSize": 1}},
            {
                "inputs": {"d": {"path": place, "type": "uri_folder"}},
                "outputs": {"score": {"path": f"{place}-out", "type": "uri_folder"}},
                "settings": {"mini_batch_size": 1},
            },
        ),
        (
            pipeline,
            seed(
                data=folder,
                mode={"JobInputType": "Literal", "Value": "prediction_only"},
                folds={"JobInputType": "Literal", "Value": "5"},
                exact={"JobInputType": "Literal", "Value": True},
            ),
            {
                "inputs": {
                    "data": {"path": place, "type": "uri_folder"},
                    "mode": "prediction_only",
                    "folds": 5,
                    "exact": True,
                }
            },
        ),
        (pipeline, {"inputs": {"data": place, "folds": 2}}, {"inputs": {"data": place, "folds": 2}}),
        (model, {"input": place, "deployment": "Second"}, {"inputs": {"data": place}, "deployment": "second"}),
    ]
    for endpoint, body, expected in as_sent:
        answer = http.post(f"/endpoints/{endpoint}/jobs", json=body)
        assert answer.status_code == 201, answer.text
        job = answer.json()
        assert job["id"] == job["name"] and answer.headers["location"] == f"/endpoints/{endpoint}/jobs/{job['id']}"
        assert job["properties"]["status"] == "NotStarted"
        assert parameters(endpoints, job["id"]) == expected
        assert http.get(answer.headers["location"]).json()["id"] == job["id"]


def test_the_header_names_a_deployment(http: httpx.Client, endpoints: Endpoints, model: str, place: str):
    body = seed(d={"JobInputType": "UriFolder", "Uri": place})
    url = f"/endpoints/{model}/jobs"
    job = http.post(url, json=body, headers={"azureml-model-deployment": "second"}).json()
    assert job["properties"]["deploymentName"] == "second"
    assert parameters(endpoints, job["id"])["deployment"] == "second"
    unknown = http.post(url, json=body, headers={"azureml-model-deployment": "third"})
    assert unknown.status_code == 422 and "it has first, second" in unknown.json()["error"]["message"]
    both = http.post(url, json={"input": place, "deployment": "first"}, headers={"azureml-model-deployment": "second"})
    assert both.status_code == 422


def test_a_repeated_call_makes_no_second_job(http: httpx.Client, model: str, pipeline: str, place: str):
    url = f"/endpoints/{model}/jobs"
    for header in ("Idempotency-Key", "repeatability_request-id"):
        key = {header: str(uuid.uuid4())}
        first, again = (http.post(url, json={"input": place}, headers=key) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["id"] == again.json()["id"]
        assert first.headers["location"] == again.headers["location"]
        other = http.post(url, json={"input": f"{place}/item-0.txt"}, headers=key)
        assert other.status_code == 422 and "another call" in other.json()["error"]["message"]
        elsewhere = http.post(f"/endpoints/{pipeline}/jobs", json={"inputs": {"data": place}}, headers=key)
        assert elsewhere.status_code == 201  # a key is one endpoint's


def test_calls_with_one_key_at_once_make_one_job(http: httpx.Client, fresh: str, place: str):
    url, key = f"/endpoints/{fresh}/jobs", {"Idempotency-Key": str(uuid.uuid4())}
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: http.post(url, json={"input": place}, headers=key), range(8)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(http.get(url).json()["value"]) == 1


def test_a_key_is_its_callers_own(endpoints: Endpoints, model: str, place: str):
    url, key = f"/endpoints/{model}/jobs", {"Idempotency-Key": "1"}
    with rest_gateway.gateway({"a": "invoke:*", "b": "invoke:*"}) as http:
        jobs = {http.post(url, json={"input": place}, headers=key | bearer(who)).json()["id"] for who in "ab"}
        assert len(jobs) == 2


def test_a_job_and_its_outputs(http: httpx.Client, endpoints: Endpoints, model: str, store: tuple[str, Path]):
    ended = endpoints.call(model, inputs={"data": str(store[1])})
    url = f"/endpoints/{model}/jobs/{ended.id}"
    # The flow ran in this process, without the Prefect deployment that would tell its parameters' endpoint.
    job = http.get(url).json()
    assert job["properties"]["status"] == "Completed" and job["properties"]["deploymentName"] == "first"
    assert job["properties"]["progress"] == {"completed": 1, "total": 1, "failed": 0}
    (output,) = http.get(f"{url}/outputs").json()["value"]
    assert (output["name"], output["files"]) == ("score", 1)
    (file,) = http.get(f"{url}/outputs/score").json()["value"]
    answer = http.get(file["link"])
    assert answer.content == ended.predictions and answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-disposition"].endswith("predictions.csv")
    for path in ("../job.json", "%2e%2e/%2e%2e/job.json", "/etc/passwd", "..%2fjob.json", "nothing.csv", ""):
        assert http.get(f"{url}/outputs/score/{path}").status_code == 404
    assert http.get(f"{url}/outputs/other").status_code == 404
    assert http.post(f"{url}/cancel").status_code == 409


def test_a_job_is_of_one_endpoint(http: httpx.Client, model: str, pipeline: str, place: str):
    job = http.post(f"/endpoints/{model}/jobs", json={"input": place}).json()["id"]
    assert http.get(f"/endpoints/{model}/jobs/{job}").status_code == 200
    assert http.get(f"/endpoints/{pipeline}/jobs/{job}").status_code == 404
    assert http.post(f"/endpoints/{pipeline}/jobs/{job}/cancel").status_code == 404
    assert http.get(f"/endpoints/{model}/jobs/{job}/outputs").status_code == 409  # it has not ended
    assert http.post(f"/endpoints/{model}/jobs/{job}/cancel").json()["properties"]["status"] in (
        "CancelRequested",
        "Canceled",
    )


def test_jobs_come_page_by_page(http: httpx.Client, fresh: str, place: str):
    made = [http.post(f"/endpoints/{fresh}/jobs", json={"input": place}).json()["id"] for _ in range(3)]
    found: list[str] = []
    link: str | None = f"/endpoints/{fresh}/jobs?top=2"
    while link:
        page = http.get(link).json()
        found += [job["id"] for job in page["value"]]
        link = page["nextLink"]
    assert found == made[::-1]


def test_endpoints(http: httpx.Client, fresh: str):
    assert fresh in [one["name"] for one in http.get("/endpoints").json()["value"]]
    assert http.get(f"/endpoints/{fresh}").json()["properties"]["defaults"] == {"deploymentName": "first"}
    changed = http.patch(f"/endpoints/{fresh}", json={"defaults": {"deployment_name": "SECOND"}})
    assert changed.json()["properties"]["defaults"] == {"deploymentName": "second"}
    wrong = http.patch(f"/endpoints/{fresh}", json={"defaults": {"deploymentName": "third"}})
    assert wrong.status_code == 422 and "it has first, second" in wrong.json()["error"]["message"]
    assert http.get("/endpoints/nothing").status_code == 404
    for body in ({}, {"default": "first"}, {"defaults": []}, {"description": 5}):
        assert http.patch(f"/endpoints/{fresh}", json=body).status_code == 422


def test_openapi_of_an_endpoint(http: httpx.Client, pipeline: str, model: str):
    document = http.get(f"/endpoints/{pipeline}/openapi.json").json()
    inputs = document["components"]["schemas"]["Inputs"]["properties"]
    assert inputs["mode"]["enum"] == ["append", "prediction_only"]
    assert (inputs["folds"]["type"], inputs["folds"]["maximum"]) == ("integer", 9)
    assert set(document["paths"]) >= {f"/endpoints/{pipeline}/jobs", f"/endpoints/{pipeline}/jobs/{{job}}"}
    assert "{name}" not in json.dumps(document["paths"]) and "#/definitions" not in json.dumps(document)
    assert "/endpoints/{name}/jobs" in http.get("/openapi.json").json()["paths"]
    from openapi_spec_validator import validate

    validate(document)
    validate(http.get(f"/endpoints/{model}/openapi.json").json())


GRANTS = {"invoker": "invoke:{0}", "reader": "read:{0}", "manager": "manage:{0}", "stranger": "invoke:else read:else"}


def test_grants(endpoints: Endpoints, fresh: str, place: str):
    with rest_gateway.gateway({who: grant.format(fresh) for who, grant in GRANTS.items()}) as http:

        def status(who: str, method: str, path: str, **body: Any) -> int:
            return http.request(method, f"/endpoints{path}", headers=bearer(who), **body).status_code

        call = {"json": {"input": place}}
        assert [status(who, "POST", f"/{fresh}/jobs", **call) for who in GRANTS] == [201, 403, 403, 403]
        assert [status(who, "GET", f"/{fresh}/jobs") for who in GRANTS] == [403, 200, 403, 403]
        assert [status(who, "GET", f"/{fresh}") for who in GRANTS] == [200, 200, 200, 403]
        change = {"json": {"description": "new"}}
        assert [status(who, "PATCH", f"/{fresh}", **change) for who in GRANTS] == [403, 403, 200, 403]
        (job,) = http.get(f"/endpoints/{fresh}/jobs", headers=bearer("reader")).json()["value"]
        assert job["properties"]["caller"] == "invoker"
        assert [status(who, "GET", f"/{fresh}/jobs/{job['id']}") for who in GRANTS] == [200, 200, 403, 403]
        other = str(endpoints.start(fresh, inputs={"data": place}))
        assert [status(who, "GET", f"/{fresh}/jobs/{other}") for who in GRANTS] == [403, 200, 403, 403]
        seen = {who: http.get("/endpoints", headers=bearer(who)).json()["value"] for who in GRANTS}
        assert [len(found) for found in seen.values()] == [1, 1, 1, 0]
        assert [status(who, "POST", f"/{fresh}/jobs/{other}/cancel") for who in GRANTS] == [403, 403, 202, 403]
        assert status("invoker", "POST", f"/{fresh}/jobs/{job['id']}/cancel") == 202


def test_what_is_forbidden_says_nothing_of_what_exists(endpoints: Endpoints, model: str, place: str):
    with rest_gateway.gateway({"stranger": "invoke:else"}) as http:
        paths = [("GET", ""), ("PATCH", ""), ("POST", "/jobs"), ("GET", "/jobs"), ("GET", f"/jobs/{uuid.uuid4()}")]
        for method, path in paths:
            answers = [
                http.request(method, f"/endpoints/{name}{path}", content=b"{", headers=bearer("stranger"))
                for name in (model, "no-such-thing", "..", "no%3Fname")
            ]
            answers = [answer for answer in answers if answer.request.url.path.startswith("/endpoints/")]
            assert {(answer.status_code, answer.text) for answer in answers} == {(403, answers[0].text)}


def test_who_is_not_known(endpoints: Endpoints, model: str):
    with rest_gateway.gateway({"known": "read:*"}) as http:
        wrong = [{}, bearer("bad"), bearer("unknown"), {"Authorization": "Basic a25vd24="}, {"Authorization": "known"}]
        for headers in wrong:
            for path in ("/endpoints", f"/endpoints/{model}", "/endpoints/nothing", f"/endpoints/{model}/jobs"):
                answer = http.get(path, headers=headers)
                assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error"]["code"] == "Unauthenticated"
        assert http.get("/endpoints", headers=bearer("known")).status_code == 200
        assert http.get("/health").json() == {"status": "ok"}


def test_places_that_callers_may_not_name(http: httpx.Client, model: str, place: str):
    url = f"/endpoints/{model}/jobs"
    before = http.get(url).json()
    for path in ("file:///etc/passwd", "/etc/passwd", "../secrets", f"{place}/../../etc", "http://127.0.0.1:4200/api"):
        climbs = ".." in path  # is refused also where everything may be named
        for body in ({"input": path}, seed(d={"JobInputType": "UriFile", "Uri": path}), {"inputs": {"d": [path]}}):
            answer = http.post(url, json=body)
            assert answer.status_code == 403 or (climbs and answer.status_code == 422), f"{body}: {answer.text}"
        written = http.post(url, json={"input": place, "outputs": {"score": path}})
        assert written.status_code in (403, 422), written.text
    assert http.get(url).json() == before


BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"{", 400, "not valid JSON"),
    (b"\xff\xfe", 400, "not valid JSON"),
    (b'{"input": NaN}', 400, "not valid JSON"),
    (b'{"input": 1, "input": 2}', 400, "twice"),
    (b"[" * 100_000, 400, "not valid JSON"),
    (b'{"a":' * 50 + b"1" + b"}" * 50, 422, "nested"),
    (b"[]", 422, "object"),
    (b'{"inputs": {"a": 1e999}}', 422, "too large"),
    (b'{"inputs": {"a": 99999999999999999999}}', 422, "64 bits"),
    (b'{"inputs": {"a": "\\u0000"}}', 422, "character"),
    (b'{"inputs": {"\\ud800": "b"}}', 422, "character"),
    (b'{"imputs": {}}', 422, "did you mean inputs?"),
    (b'{"properties": {"InputData": {"d": "path"}}}', 422, "JobInputType"),
    (b'{"properties": {"InputData": {"d": {"JobInputType": "MLTable", "Uri": "x"}}}}', 422, "not supported"),
    (b'{"properties": {"InputData": {"d": {"JobInputType": "UriFolder", "Uri": 5}}}}', 422, "Uri"),
    (b'{"properties": {"InputData": {}, "inputdata": {}}}', 422, "twice"),
    (b'{"settings": {"mini_batch_size": 0}, "input": "azureml:nothing@latest"}', 422, ""),
    (b"{}", 422, "input"),
]


def test_bad_bodies(http: httpx.Client, pipeline: str):
    url, headers = f"/endpoints/{pipeline}/jobs", {"Content-Type": "application/json"}
    for body, status, says in BAD_BODIES:
        answer = http.post(url, content=body, headers=headers)
        told = (answer.status_code, says in answer.json()["error"]["message"])
        assert told == (status, True), f"{body[:100]!r}: {answer.text}"
    assert http.post(url, content=b"{}").status_code == 415
    assert http.post(url, content=b"x" * 1_000_001, headers=headers).status_code == 413


def test_limits(endpoints: Endpoints):
    with rest_gateway.gateway({"a": "read:*", "b": "read:*"}, requests_per_second=0.01) as http:
        assert http.get("/endpoints", headers=bearer("a")).status_code == 200
        refused = http.get("/endpoints", headers=bearer("a"))
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 50
        assert refused.json()["error"]["code"] == "TooManyRequests"
        assert http.get("/endpoints", headers=bearer("b")).status_code == 200


def test_no_server():
    away = {PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(away), rest_gateway.gateway() as http:
        answer = http.get("/endpoints")
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert answer.json()["error"]["code"] == "ServiceUnavailable"


def test_a_server_that_takes_too_long(endpoints: Endpoints):
    with rest_gateway.gateway(request_seconds=0.001) as http:
        assert http.get("/endpoints").status_code == 503


def test_routes_that_there_are_not(http: httpx.Client):
    assert http.get("/nothing").json()["error"]["code"] == "NotFound"
    answer = http.delete("/endpoints")
    assert answer.status_code == 405 and answer.json()["error"]["code"] == "MethodNotAllowed"
    assert http.get("/endpoints/abc/jobs/no-uuid").status_code == 422
