"""Components on a real server: what a deployment runs of them is whole, and stays as it was."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from endpoints import Endpoints
from prefect.client.orchestration import SyncPrefectClient

from prefect_batch.blocks.component import Asset
from prefect_batch.blocks.deployment import find_deployment
from prefect_batch.blocks.pipeline_deployment import PipelineDeployment
from prefect_batch.blocks.snapshot import fetch
from prefect_batch.flows.pipeline_source import prepare_job
from prefect_batch.scoring.errors import InvalidDocument, NotFound

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def name() -> str:
    return f"part_{uuid4().hex[:8]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A component of one command in its own folder, a pipeline of two steps of it, and a deployment of that."""
    (tmp_path / "shout" / "src").mkdir(parents=True)
    (tmp_path / "shout" / "src" / "shout.py").write_text("print('one')\n")
    (tmp_path / "shout" / "shout.yml").write_text(
        "type: command\ninputs: {data: {type: uri_folder}, times: {type: integer, default: 1}}\n"
        "outputs: {out: {type: uri_folder}}\ncode: src\nenvironment: azureml:env@latest\n"
        "command: python shout.py ${{inputs.data}} ${{inputs.times}} ${{outputs.out}}\n"
    )
    (tmp_path / "pipeline.yml").write_text(
        "type: pipeline\ninputs: {data: {type: uri_folder}, times: {type: integer, default: 2, max: 9}}\n"
        "outputs: {loud: {type: uri_folder}}\n"
        "jobs:\n"
        "  first:\n    component: shout/shout.yml\n"
        "    inputs: {data: '${{parent.inputs.data}}', times: '${{parent.inputs.times}}'}\n"
        "  second:\n    component: ./shout/shout.yml\n    inputs: {data: '${{parent.jobs.first.outputs.out}}'}\n"
        "    outputs: {out: '${{parent.outputs.loud}}'}\n"
    )
    (tmp_path / "deployment.yml").write_text(
        "name: shouting\nendpoint_name: unused\ntype: pipeline\ncomponent: pipeline.yml\n"
        "settings: {continue_on_step_failure: false}\n"
    )
    return tmp_path


def deploy(endpoints: Endpoints, path: Path, endpoint: str) -> PipelineDeployment:
    made = endpoints.deploy(path, endpoint)
    assert isinstance(made, PipelineDeployment)
    return made


def test_a_deployment_holds_the_whole_pipeline(client: SyncPrefectClient, endpoints: Endpoints, folder: Path) -> None:
    deploy(endpoints, folder / "deployment.yml", "whole")
    shutil.rmtree(folder)
    found = find_deployment(client, "whole", "shouting")
    assert isinstance(found, PipelineDeployment) and found.graph is not None
    assert (found.version, found.component, found.settings.continue_on_step_failure) == (1, "pipeline.yml", False)
    assert found.interface.inputs["times"].default == 2
    assert list(found.interface.outputs) == ["loud"]
    first, second = found.graph.jobs.values()
    snapshot = first.component.code_snapshot
    assert snapshot is not None and snapshot == second.component.code_snapshot
    assert (fetch(snapshot) / snapshot.name / "shout.py").read_text() == "print('one')\n"


def test_fixed_assets_are_copied(endpoints: Endpoints, folder: Path) -> None:
    for name in ("table", "model"):
        (folder / name).mkdir()
        (folder / name / "a.csv").write_text(name)
    pipeline = folder / "pipeline.yml"
    text = pipeline.read_text().replace("inputs: {data: {type: uri_folder}, times:", "inputs: {times:")
    text = text.replace("'${{parent.inputs.data}}'", "{type: uri_folder, path: table}")
    pipeline.write_text(text.replace("'${{parent.jobs.first.outputs.out}}'", "{type: mlflow_model, path: model/}"))
    graph = deploy(endpoints, folder / "deployment.yml", "fixed").graph
    shutil.rmtree(folder)
    assert graph is not None
    assets = [step.inputs["data"] for step in graph.jobs.values()]
    assert [(Path(str(one.path)) / "a.csv").read_text() for one in assets if isinstance(one, Asset)] == [
        "table",
        "model",
    ]


def test_a_fixed_asset_that_is_not_there(endpoints: Endpoints, folder: Path) -> None:
    text = (folder / "pipeline.yml").read_text()
    (folder / "pipeline.yml").write_text(text.replace("'${{parent.jobs.first.outputs.out}}'", "{path: gone}"))
    with pytest.raises(NotFound, match=r"pipeline.yml: line 10: jobs.second.inputs.data: path: 'gone' does not exist"):
        deploy(endpoints, folder / "deployment.yml", "gone-asset")


def test_an_inline_component_names_the_line_of_the_deployment(endpoints: Endpoints, folder: Path) -> None:
    path = folder / "deployment.yml"
    path.write_text(
        "name: inline\nendpoint_name: unused\ntype: pipeline\ncomponent:\n  jobs:\n    hello:\n"
        "      command: echo ${{inputs.who}}\n"
    )
    with pytest.raises(InvalidDocument, match=r"line 7: component.jobs.hello.command: \$\{\{inputs.who\}\}: the comp"):
        deploy(endpoints, path, "inline")
    path.write_text(path.read_text() + "      inputs: {who: world}\n")
    made = deploy(endpoints, path, "inline")
    assert made.graph is not None and made.graph.jobs["hello"].inputs == {"who": "world"}
    assert made.component is None


def test_registered_components(
    client: SyncPrefectClient, endpoints: Endpoints, folder: Path, name: str, cli_here: Cli
) -> None:
    command, pipeline = folder / "shout" / "shout.yml", folder / "pipeline.yml"
    made = cli_here("component", "create", "-f", command, "--name", name, "--set", "description=Loud")
    assert made.stdout == f"azureml:{name}:1\n"
    script = folder / "shout" / "src" / "shout.py"
    script.write_text("print('two')\n")
    cli_here("component", "create", "-f", command, "--name", name)
    text = pipeline.read_text().replace("./shout/shout.yml", f"azureml:{name}:1")
    pipeline.write_text(text.replace("shout/shout.yml", f"azureml:{name}@latest"))
    cli_here("component", "create", "-f", pipeline, "--name", f"{name}_both", "--version", "7")
    shutil.rmtree(folder / "shout")
    (folder / "deployment.yml").write_text(
        f"name: shouting\nendpoint_name: unused\ntype: pipeline\ncomponent: azureml:{name}_both\n"
    )
    graph = deploy(endpoints, folder / "deployment.yml", "registered").graph
    assert graph is not None and (graph.name, graph.version) == (f"{name}_both", "7")
    codes = [step.component.code_snapshot for step in graph.jobs.values()]
    assert [(fetch(code) / code.name / "shout.py").read_text() for code in codes if code] == [
        "print('two')\n",
        "print('one')\n",
    ]
    rows = [line.split("\t")[:4] for line in cli_here("component", "list", "--name", name).stdout.splitlines()[1:]]
    assert rows == [[name, "1", "command", "Loud"], [name, "2", "command", ""]]
    shown = json.loads(cli_here("component", "show", name, "--version", "1").stdout)
    assert (shown["id"], shown["description"]) == (f"azureml:{name}:1", "Loud")
    assert cli_here("component", "archive", name, "--version", "2").stdout == f"azureml:{name}:2\n"
    assert json.loads(cli_here("component", "show", name).stdout)["version"] == "1"
    assert cli_here("component", "restore", name).stdout == f"azureml:{name}:1\nazureml:{name}:2\n"


def test_what_cannot_be_registered(folder: Path, name: str, cli_here: Cli) -> None:
    command = folder / "shout" / "shout.yml"
    said = cli_here("component", "create", "-f", command, code=1).stderr
    assert "name is missing: write it there, or give --name" in said
    said = cli_here("component", "create", "-f", command, "--name", "has-dash", code=1).stderr
    assert "name: 'has-dash' must be lower-case letters, digits and underscores" in said
    cli_here("component", "create", "-f", command, "--name", name, "--version", "3")
    said = cli_here("component", "create", "-f", command, "--name", name, "--version", "3", code=1).stderr
    assert f"component '{name}' has a version 3 already, and versions never change" in said
    (folder / "pipeline.yml").write_text(
        (folder / "pipeline.yml").read_text().replace("./shout/shout.yml", "azureml:nnn:1")
    )
    said = cli_here("component", "create", "-f", folder / "pipeline.yml", "--name", name, code=1).stderr
    assert "component 'nnn' does not exist" in said


def test_the_note_on_what_has_no_effect(endpoints: Endpoints, folder: Path, cli_here: Cli) -> None:
    endpoints.make("notes")
    said = cli_here("deployment", "create", "-f", folder / "deployment.yml", "-e", "notes").stderr
    assert "Note: environment of steps is recorded, and of no effect: jobs run in the Python of the worker" in said


def test_a_flow_in_python(endpoints: Endpoints, tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "helper.py").write_text("WORD = 'hello'\n")
    (tmp_path / "flows" / "pipelines.py").write_text(
        "from helper import WORD\nfrom prefect import flow\n\n\n"
        "@flow\ndef hello(times: int = 2):\n    print(WORD * times)\n"
    )
    path = tmp_path / "deployment.yml"
    path.write_text("name: hello\nendpoint_name: unused\ntype: pipeline\nflow: flows/pipelines.py:hello\n")
    made = deploy(endpoints, path, "python-flow")
    assert (made.flow, made.interface.inputs["times"].default) == ("pipelines.py:hello", 2)
    assert made.code_snapshot is not None
    stored = fetch(made.code_snapshot) / made.code_snapshot.name
    assert sorted(file.name for file in stored.iterdir()) == ["helper.py", "pipelines.py"]
    path.write_text("name: hello\nendpoint_name: unused\ntype: pipeline\ncode: flows\nflow: pipelines.py:hello\n")
    again = deploy(endpoints, path, "python-flow")
    assert (again.flow, again.code_snapshot, again.version) == (made.flow, made.code_snapshot, 2)
    path.write_text("name: hello\nendpoint_name: unused\ntype: pipeline\nflow: pipelines.py:hello\n")
    with pytest.raises(InvalidDocument, match=r"deployment.yml: flow: 'pipelines.py' is not a file"):
        deploy(endpoints, path, "python-flow")


def test_what_a_job_ran(client: SyncPrefectClient, endpoints: Endpoints, folder: Path) -> None:
    deploy(endpoints, folder / "deployment.yml", "source")
    (folder / "data").mkdir()
    (folder / "data" / "a.txt").write_text("a")
    given = {"data": str(folder / "data"), "times": 5}
    job = endpoints.call("source", inputs=given, settings={"force_rerun": True})
    shutil.rmtree(folder / "shout")
    path = folder / "again.yml"
    path.write_text(
        f"name: again\nendpoint_name: unused\ntype: pipeline\njob_definition: azureml:{job.id}\n"
        "settings: {instance_count: 2}\n"
    )
    made = deploy(endpoints, path, "source")
    found = find_deployment(client, "source", "again")
    assert isinstance(found, PipelineDeployment) and found.graph is not None
    assert list(found.graph.jobs) == ["first", "second"]
    assert found.interface.inputs["times"].default == found.graph.inputs["times"].default == 5
    assert found.interface.inputs["data"].required
    settings = made.settings
    assert (settings.instance_count, settings.force_rerun, settings.continue_on_step_failure) == (2, True, False)


def test_a_job_definition_that_is_none(endpoints: Endpoints, folder: Path) -> None:
    path = folder / "deployment.yml"
    path.write_text("name: again\nendpoint_name: unused\ntype: pipeline\njob_definition: azureml:nothing\n")
    with pytest.raises(NotFound, match=r"job_definition: 'azureml:nothing': job 'nothing' does not exist"):
        deploy(endpoints, path, "no-source")


def test_the_file_of_a_job(client: SyncPrefectClient, folder: Path) -> None:
    path = folder / "job.yml"
    path.write_text(
        "type: pipeline\nname: my-run\ncomponent: pipeline.yml\n"
        "inputs: {data: {type: uri_folder, path: data}, times: 3}\n"
        "settings: {continue_on_step_failure: false}\n"
    )
    job = prepare_job(client, path, {"inputs": {"times": 4}})
    assert job.inputs == {"data": {"type": "uri_folder", "path": str(folder / "data")}, "times": 4}
    assert (job.name, job.deployment.name) == ("my-run", "my-run")
    assert job.deployment.settings.continue_on_step_failure is False
    assert job.deployment.graph is not None
    assert all(step.component.code_snapshot for step in job.deployment.graph.jobs.values())
    with pytest.raises(InvalidDocument, match=r"job.yml: inputs.times: 10 is not a whole number to 9"):
        prepare_job(client, path, {"inputs": {"times": 10}})
