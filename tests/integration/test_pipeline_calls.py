"""Calls to pipelines and models behind one endpoint: what the real server refuses, and what reaches the command."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoints
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter
from prefect.exceptions import PrefectHTTPStatusError

from prefect_batch.flows import catalog, jobs
from prefect_batch.scoring.errors import BatchError

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]

SCRIPT = """
import json, sys
from pathlib import Path
data, note, folds, exact, scores, report, *table = sys.argv[1:]
files = sorted(path.name for path in Path(data).iterdir())
Path(scores, "scores.json").write_text(json.dumps([files, note, folds, exact, len(table)]))
Path(report).write_text("reported")
"""
COMMAND = (
    "python tell.py ${{inputs.data}} ${{inputs.note}} ${{inputs.folds}} ${{inputs.exact}} ${{outputs.scores}} "
    "${{outputs.report}} $[[${{inputs.table}}]]"
)
INPUTS: dict[str, Any] = {
    "data": {"type": "uri_folder"},
    "table": {"type": "uri_file", "optional": True},
    "note": {"type": "string", "default": "-", "description": "Any text."},
    "folds": {"type": "integer", "min": 1, "max": 9, "default": 3},
    "exact": {"type": "boolean", "default": False},
    "mode": {"type": "string", "enum": ["append", "prediction_only"], "default": "append"},
}
NASTY = "\"; rm -rf ~; echo \"$(id) `id` 'x' \n é"


def component(inputs: dict[str, Any]) -> dict[str, Any]:
    """One step that tells what it was given; `mode` goes nowhere."""
    step_inputs = {name: spec for name, spec in inputs.items() if name != "mode"}
    outputs = {"scores": {"type": "uri_folder"}, "report": {"type": "uri_file"}}
    tell = {
        "type": "command",
        "component": {"type": "command", "code": "src", "inputs": step_inputs, "outputs": outputs, "command": COMMAND},
        "inputs": {name: f"${{{{parent.inputs.{name}}}}}" for name in step_inputs},
        "outputs": {name: f"${{{{parent.outputs.{name}}}}}" for name in outputs},
    }
    return {"type": "pipeline", "inputs": inputs, "outputs": outputs, "jobs": {"tell": tell}}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes the file of a pipeline deployment."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "tell.py").write_text(SCRIPT)

    def make(name: str, inputs: dict[str, Any], **settings: Any) -> Path:
        document = {
            "name": name,
            "endpoint_name": "unused",
            "type": "pipeline",
            "component": component(inputs),
            "settings": settings,
        }
        path = tmp_path / f"{name}.yml"
        path.write_text(json.dumps(document))
        return path

    return make


@pytest.fixture
def mixed(endpoints: Endpoints, write: Write, script_deployment: Write) -> str:
    """An endpoint with a pipeline (the default), another one with other types under the same names, and a model."""
    name = f"mixed-{uuid.uuid4().hex[:8]}"
    endpoints.deploy(write("pipe", INPUTS), name)
    other = INPUTS | {
        "note": {"type": "string"},
        "folds": {"type": "string"},
        "exact": {"type": "number", "default": 1},
    }
    endpoints.deploy(write("other", other), name, set_default=False)
    endpoints.deploy(script_deployment("return [Path(p).name for p in mini_batch]"), name, set_default=False)
    return name


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, r"'inputs' is a required property"),
    ({"inputs": {}}, r"field 'inputs'. Failure reason: 'data' is a required property"),
    ({"inputs": {"data": "x", "nots": 1}}, r"field 'inputs'.* \('nots' was unexpected\)"),
    ({"inputs": {"data": "x", "folds": 10}}, r"field 'inputs.folds'.* 10 is greater than the maximum of 9"),
    ({"inputs": {"data": "x", "folds": "3"}}, r"field 'inputs.folds'.* '3' is not of type 'integer'"),
    ({"inputs": {"data": "x", "note": 5}}, r"field 'inputs.note'.* 5 is not of type 'string'"),
    ({"inputs": {"data": "x", "exact": "yes"}}, r"field 'inputs.exact'.* 'yes' is not of type 'boolean'"),
    ({"inputs": {"data": "x", "mode": "both"}}, r"field 'inputs.mode'.* 'both' is not one of \['append', 'pred"),
    ({"inputs": {"data": ["x"]}}, r"field 'inputs.data'"),
    ({"inputs": {"data": "x"}, "outputs": {"score": "y"}}, r"field 'outputs'.* \('score' was unexpected\)"),
    ({"inputs": {"data": "x"}, "settings": {"mini_batch_size": 2}}, r"\('mini_batch_size' was unexpected\)"),
    ({"inputs": {"data": "x"}, "deployment": "nobody"}, r"'nobody' is not one of \["),
]
OF_OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"inputs": {"data": "x", "folds": "3"}}, r"field 'inputs'.* 'note' is a required property"),
    ({"inputs": {"data": "x", "note": "y", "folds": 3}}, r"field 'inputs.folds'.* 3 is not of type 'string'"),
    ({"inputs": {"data": "x", "note": "y", "folds": "3", "exact": True}}, r"'inputs.exact'.* True is not of type 'num"),
]


def runs_of(client: SyncPrefectClient, endpoint: str) -> list[Any]:
    return client.read_flow_runs(deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [endpoint]}}))


def server_says(client: SyncPrefectClient, endpoint: str, call: dict[str, Any]) -> str:
    """Why the server, and nobody before it, refuses a call."""
    deployment = client.read_deployment_by_name(f"endpoint/{endpoint}").id
    with pytest.raises(PrefectHTTPStatusError) as caught:
        client.create_flow_run_from_deployment(deployment, parameters=call)
    assert caught.value.response.status_code == 409
    return caught.value.response.json()["detail"]


def test_the_server_holds_each_call_to_the_deployment_that_it_is_for(client: SyncPrefectClient, mixed: str) -> None:
    named = [({"deployment": "pipe", **call}, said) for call, said in REFUSED[:-1]]
    others = [({"deployment": "other", **call}, said) for call, said in OF_OTHERS]
    model = [({"deployment": "scripted", "inputs": {"data": "x", "folds": "3"}}, "too many properties")]
    for call, said in [*REFUSED, *named, *others, *model]:
        assert re.search(said, detail := server_says(client, mixed, call)), (call, detail)
    catalog.update_endpoint(client, mixed, "scripted", None)
    for call, said in [*named, *others, *model]:
        assert re.search(said, detail := server_says(client, mixed, call)), (call, detail)
    assert runs_of(client, mixed) == []


def test_the_form_is_the_defaults(client: SyncPrefectClient, mixed: str) -> None:
    def fields() -> dict[str, Any]:
        schema: Any = client.read_deployment_by_name(f"endpoint/{mixed}").parameter_openapi_schema
        return schema["definitions"]["Inputs"]["properties"]

    assert list(fields()) == list(INPUTS)
    assert fields()["mode"]["enum"] == ["append", "prediction_only"]
    catalog.update_endpoint(client, mixed, "scripted", None)
    assert list(fields()) == []
    catalog.update_endpoint(client, mixed, "other", None)
    assert list(fields()) == list(INPUTS) and "Required by other." in fields()["note"]["description"]


def test_a_refusal_says_what_came_and_what_is_expected(client: SyncPrefectClient, mixed: str, cli: Cli) -> None:
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"inputs": {}}, "inputs.data is missing: give the path of a folder"),
        ({"inputs": {"data": "x", "folds": 10}}, "inputs.folds: 10 is not a whole number from 1 to 9"),
        ({"inputs": {"data": "x", "not": 1}}, "inputs.not is no input of this deployment: did you mean note?"),
        ({"inputs": {"data": "x"}, "settings": {"mini_batch_size": 2}}, "settings: mini_batch_size is not a known key"),
        ({"inputs": {"data": "x"}, "deployment": "nobody"}, "Deployment 'nobody' not found"),
        ({"inputs": {"a": "x", "b": "y"}, "deployment": "scripted"}, "inputs"),
    ]
    for call, said in refusals:
        with pytest.raises(BatchError, match=re.escape(said)):
            jobs.invoke(client, mixed, call)
    for arguments, said in [
        (["--set", "inputs.folds=many"], "inputs.folds: 'many' is not a whole number"),
        (["--set", "inputs.fold=3"], "inputs.fold is no input of this deployment: did you mean folds?"),
        (["--set", "inputs.mode=both"], "inputs.mode: 'both' is not one of append, prediction_only"),
        (["--input", "x"], "--input is for a pipeline with one data input, and it has data, table"),
        (["-m", "3"], "--set: mini_batch_size is not a known key"),
    ]:
        data = [] if "--input" in arguments else ["--set", "inputs.data.path=."]
        assert said in cli("invoke", mixed, *data, *arguments, code=1).stderr
    assert runs_of(client, mixed) == []


def told(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_call_from_the_command_line_to_its_outputs(
    mixed: str, cli: Cli, numbered_files: Callable[[int], Path], tmp_path: Path
) -> None:
    numbered_files(2)
    (tmp_path / "inputs.yml").write_text(
        "inputs:\n  data: {type: uri_folder, path: items-2}\n  folds: {type: integer, default: 5}\n"
        "outputs: {report: {type: uri_file, path: out/report.txt}}\n"
    )
    literals = [
        "--set",
        f"inputs.note={NASTY}",
        "--set",
        "inputs.exact.type",
        "boolean",
        "inputs.exact.default",
        "true",
    ]
    done = cli("invoke", mixed, "-f", "inputs.yml", *literals, "--stream", cwd=tmp_path)
    job = done.stdout.strip()
    names = ["item-00000.txt", "item-00001.txt"]
    cli("job", "download", job, "--output-name", "scores", "-p", tmp_path / "one")
    assert told(tmp_path / "one" / "named-outputs" / "scores" / "scores.json") == [names, NASTY, "5", "True", 0]
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["named-outputs"]
    assert (tmp_path / "out" / "report.txt").read_text() == "reported"
    cli("job", "download", job, "-p", tmp_path / "all")
    assert (tmp_path / "all" / "named-outputs" / "report" / "report.txt").read_text() == "reported"
    assert (tmp_path / "all" / "artifacts" / "summary.json").exists()
    refused = cli("job", "download", job, "--output-name", "score", "-p", tmp_path / "no", code=1).stderr
    assert "has no output 'score': it has scores, report" in refused
    shown = cli("job", "show", job).stdout
    assert f"{tmp_path}/items-2" in shown and "step tell" in shown and "input folds" in shown
    assert job in cli("job", "list", "-e", mixed).stdout


def test_a_call_for_a_named_deployment_of_either_type(
    mixed: str, endpoints: Endpoints, numbered_files: Callable[[int], Path], tmp_path: Path
) -> None:
    data = numbered_files(1)
    ended = endpoints.run(mixed, data, deployment="scripted")
    assert (ended.state, ended.predictions) == ("Completed", b"prediction\nitem-00000.txt\n")
    inputs = {"data": str(data), "note": "", "folds": "007", "exact": 2, "table": str(data / "item-00000.txt")}
    ended = endpoints.call(mixed, deployment="other", inputs=inputs, outputs={"scores": str(tmp_path / "s")})
    assert ended.state == "Completed", ended.message
    assert told(tmp_path / "s" / "scores.json") == [["item-00000.txt"], "", "007", "2.0", 1]
    again = endpoints.call(mixed, deployment="other", inputs=inputs, outputs={"scores": str(tmp_path / "s")})
    assert again.state == "Failed" and "outputs.scores" in again.message and "not overwritten" in again.message


def test_a_trial_run_on_this_machine(
    write: Write, cli: Cli, numbered_files: Callable[[int], Path], tmp_path: Path
) -> None:
    numbered_files(1)
    path = write("pipe", INPUTS)
    call = ["--set", "inputs.data.path=items-1", "inputs.note=007", "--output-path", "out"]
    done = cli("run", "-f", path, *call, cwd=tmp_path)
    assert done.stdout.splitlines() == [f"{tmp_path}/out/scores", f"{tmp_path}/out/report"]
    assert told(tmp_path / "out" / "scores" / "scores.json") == [["item-00000.txt"], "007", "3", "False", 0]
    assert "exists already" not in done.stderr and "Completed" in done.stderr
    assert "not an empty folder" in cli("run", "-f", path, *call, cwd=tmp_path, code=1).stderr
    assert "inputs.data is missing" in cli("run", "-f", path, "--output-path", tmp_path / "no", code=1).stderr
    (tmp_path / "flow.yml").write_text("name: flow\nendpoint_name: unused\ntype: pipeline\nflow: pipelines.py:f\n")
    assert (
        "runs on a server" in cli("run", "-f", tmp_path / "flow.yml", "--output-path", tmp_path / "no", code=1).stderr
    )


def test_a_pipeline_job_from_its_file(
    endpoints: Endpoints, write: Write, cli: Cli, numbered_files: Callable[[int], Path], tmp_path: Path
) -> None:
    numbered_files(1)
    steps = component(INPUTS)["jobs"]
    values = {"data": {"type": "uri_folder", "path": "nowhere"}, "note": "a", "folds": 2, "exact": False}
    del steps["tell"]["inputs"]["table"]
    job = {
        "type": "pipeline",
        "inputs": values,
        "outputs": {"scores": {}, "report": {"type": "uri_file"}},
        "jobs": steps,
    }
    write("unused", INPUTS)
    (tmp_path / "job.yml").write_text(json.dumps(job))
    name = f"alone-{uuid.uuid4().hex[:8]}"
    arguments = ["--set", "inputs.data.path=items-1", "inputs.folds=7", "--name", name, "--stream"]
    created = cli("job", "create", "-f", "job.yml", *arguments, cwd=tmp_path)
    made = created.stdout.strip()
    assert "\nstep tell: Completed in " in created.stderr  # what is said last arrives, too
    cli("job", "download", name, "--output-name", "scores", "-p", tmp_path / "down")
    assert told(tmp_path / "down" / "named-outputs" / "scores" / "scores.json") == [
        ["item-00000.txt"],
        "a",
        "7",
        "False",
        0,
    ]
    assert made in cli("job", "list").stdout
    refused = cli("job", "create", "-f", "job.yml", "--set", "inputs.dat.path=x", cwd=tmp_path, code=1).stderr
    assert "inputs.dat: no step uses it" in refused
