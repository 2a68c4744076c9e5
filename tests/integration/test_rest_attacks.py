"""Callers of the gateway who want more than they may have."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import rest_gateway
from endpoints import Endpoints
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import VariableCreate
from rest_gateway import bearer

from prefect_batch.blocks.datastore import default_datastore
from prefect_batch.flows.endpoint import endpoint as endpoint_flow


@pytest.fixture(scope="module")
def root(endpoints: Endpoints) -> Path:
    """The default datastore's, with a file of data."""
    with get_client(sync_client=True) as client:
        found = Path(default_datastore(client).folder.path)
    (found / "attacked").mkdir(exist_ok=True)
    (found / "attacked" / "a.txt").write_text("1")
    return found


@pytest.fixture(scope="module")
def model(endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An endpoint whose jobs no worker takes."""
    return rest_gateway.deploy_unserved(endpoints, tmp_path_factory.mktemp("attacked"), "attacked")


@pytest.fixture(scope="module")
def http(model: str) -> Iterator[httpx.Client]:
    grants = {"mallory": f"invoke:{model} read:{model}-*", "reader": f"read:{model} invoke:{model}", "both": "read:*"}
    with rest_gateway.gateway(grants) as client:
        yield client


def call(http: httpx.Client, model: str, body: dict[str, Any], token: str = "mallory") -> httpx.Response:
    return http.post(f"/endpoints/{model}/jobs", json=body, headers=bearer(token))


def job_of(http: httpx.Client, model: str, token: str) -> str:
    answer = call(http, model, {"input": "default:attacked"}, token)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_the_server_replaces_nothing_in_a_body(http: httpx.Client, model: str):
    variable = f"secret_{uuid.uuid4().hex[:8]}"
    with get_client(sync_client=True) as client:
        client.create_variable(VariableCreate(name=variable, value="planted"))
    for given in (
        {"__prefect_kind": "workspace_variable", "variable_name": variable},
        {"__prefect_kind": "jinja", "template": "{{ 'a' * 9 }}"},
        {"__prefect_kind": "json", "value": '"/etc/passwd"'},
        {"JobInputType": "Literal", "Value": {"__prefect_kind": "json", "value": "1"}},
    ):
        for body in (
            {"input": "default:attacked", "inputs": {"params": {"x": given}}},
            {"input": given},
            {"input": [given]},
            {"input": "default:attacked", "outputs": {"score": given}},
            {"input": "default:attacked", "settings": given},
            {"properties": {"InputData": {"d": {"JobInputType": "Literal", "Value": [given]}}}},
        ):
            answer = call(http, model, body)
            assert answer.status_code == 422, body
            assert "__prefect_kind" in answer.json()["error"]["message"]


def test_what_the_service_keeps_is_nobodys(http: httpx.Client, model: str, root: Path):
    mine, digest = job_of(http, model, "mallory"), "0" * 64
    places = [
        f"default:jobs/{mine}",
        f"default:/jobs/{mine}/job.json",
        f"default:./jobs//{mine}",
        f"default:JOBS/{mine}",
        "default:jobs",
        "default:jobs/*/job.json",
        f"default:snapshots/{digest}/code",
        f"default:uploads/{digest}/data",
        f"default:reuse/{digest}.json",
        "default:watches/",
        f"{root}/jobs/{mine}",
        f"file://{root}/./jobs/{mine}",
        f"azureml://datastores/default/paths/jobs/{mine}",
    ]
    bodies: list[dict[str, Any]] = [{"input": place} for place in places]
    for written in (places[0], {"path": places[1], "type": "uri_file"}):
        bodies.append({"input": "default:attacked", "outputs": {"score": written}})
    for body in bodies:
        assert call(http, model, body).status_code == 403, body


def test_outputs_of_others_are_no_input(http: httpx.Client, model: str):
    mine, others = job_of(http, model, "mallory"), job_of(http, model, "reader")
    for token, allowed in (("mallory", {mine}), ("reader", {mine, others})):
        for job in (mine, others, str(uuid.uuid4())):
            answer = call(http, model, {"input": f"default:azureml/{job}/score"}, token)
            assert answer.status_code == (201 if job in allowed else 403), (token, answer.text)
    for place in ("default:azureml", "default:azureml/*/score", "default:azureml/x"):
        assert call(http, model, {"input": place}, "reader").status_code == 403
    written = {"input": "default:attacked", "outputs": {"score": f"default:azureml/{mine}/score"}}
    assert call(http, model, written).status_code == 403


def test_other_endpoints_are_not_told(http: httpx.Client, model: str):
    missing = f"{model}-x"
    answers = [http.get(f"/endpoints/{missing}/{rest}", headers=bearer("mallory")) for rest in ("jobs", "openapi.json")]
    for answer in answers:
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == "there is no endpoint of that name"


def test_only_jobs_are_jobs(http: httpx.Client, model: str):
    """Other runs may have a parameter of the same name, as watches have."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(endpoint_flow.with_options(name="other"), parameters={"endpoint": model})
    assert http.get(f"/endpoints/{model}/jobs/{run.id}", headers=bearer("both")).status_code == 404


def test_a_call_is_of_a_bounded_size(http: httpx.Client, model: str):
    for body in (
        {"input": ["default:attacked"] * 101},
        {"inputs": {f"name-{number}": 1 for number in range(300)}},
        {"inputs": {"x" * 300: "default:attacked"}},
        {"input": "default:attacked", "name": "one\ntwo"},
    ):
        answer = call(http, model, body)
        assert answer.status_code == 422
        assert len(answer.text) < 1000


def test_who_guesses_tokens_has_to_wait(model: str):
    with rest_gateway.gateway({"known": f"read:{model}"}, requests_per_second=0.001) as http:
        guessed = [http.get("/endpoints", headers=bearer("bad")).status_code for _ in range(3)]
        assert guessed == [401, 429, 429]


def test_a_page_in_a_browser_does_not_reach_an_open_gateway(endpoints: Endpoints):
    with rest_gateway.gateway(loopback_only=True) as http:
        port = http.base_url.port
        for host, status in (
            (f"127.0.0.1:{port}", 200),
            ("localhost", 200),
            (f"[::1]:{port}", 200),
            (f"evil.example:{port}", 421),
            ("127.0.0.1.evil.example", 421),
            ("", 421),
        ):
            assert http.get("/endpoints", headers={"Host": host}).status_code == status, host


def test_a_caller_does_not_fill_the_machine_with_processes(endpoints: Endpoints, model: str, root: Path):
    asked = {"instance_count": 1000, "max_concurrency_per_instance": 1000}
    ended = endpoints.run(model, "default:attacked", caller="mallory", settings=asked)
    assert ended.state == "Failed"
    assert "1000000 processes" in ended.message
