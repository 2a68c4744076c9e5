"""Components on a real server: what a deployment runs of them is whole, and stays as it was."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from prefect_batch.blocks.deployment import find_deployment
from prefect_batch.blocks.pipeline_deployment import PipelineDeployment
from prefect_batch.blocks.snapshot import fetch
from prefect_batch.scoring.errors import InvalidDocument

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def client(server: object) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


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


def deploy(endpoints: object, path: Path, endpoint: str) -> PipelineDeployment:
    made = endpoints.deploy(path, endpoint)  # type: ignore[attr-defined]
    assert isinstance(made, PipelineDeployment)
    return made


def test_a_deployment_holds_the_whole_pipeline(client: SyncPrefectClient, endpoints: object, folder: Path) -> None:
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


def test_fixed_assets_are_copied(client: SyncPrefectClient, endpoints: object, folder: Path) -> None:
    (folder / "table").mkdir()
    (folder / "table" / "a.csv").write_text("a\n1\n")
    text = (folder / "pipeline.yml").read_text()
    fixed = "{data: {type: uri_folder, path: table}, times: 3}"
    wanted = "{data: '${{parent.inputs.data}}', times: '${{parent.inputs.times}}'}"
    text = text.replace(wanted, fixed).replace(
        "inputs: {data: {type: uri_folder}, times: {type: integer, default: 2, max: 9}}\n", ""
    )
    (folder / "pipeline.yml").write_text(text)
    made = deploy(endpoints, folder / "deployment.yml", "fixed")
    shutil.rmtree(folder / "table")
    assert made.graph is not None
    asset = made.graph.jobs["first"].inputs["data"]
    assert (Path(asset.path) / "a.csv").read_text() == "a\n1\n"  # type: ignore[union-attr]


def test_a_fixed_asset_that_is_not_there(endpoints: object, folder: Path) -> None:
    text = (folder / "pipeline.yml").read_text()
    (folder / "pipeline.yml").write_text(text.replace("'${{parent.jobs.first.outputs.out}}'", "{path: gone}"))
    with pytest.raises(Exception, match=r"pipeline.yml: line 10: jobs.second.inputs.data: path: 'gone' does not exist"):
        deploy(endpoints, folder / "deployment.yml", "gone-asset")


def test_an_inline_component_names_the_line_of_the_deployment(endpoints: object, folder: Path) -> None:
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
