"""Scripts written for `az ml`, with these two words replaced, do what they did."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from storage_servers import HttpFiles

from prefect_batch.blocks.datastore import default_datastore
from prefect_batch.flows import jobs
from prefect_batch.flows.publication import WORK_POOL, ensure_work_pool
from prefect_batch.interfaces.cli import main
from prefect_batch.interfaces.local_server import LocalServer

Az = Callable[[str], str]
RUN = "return [Path(p).name for p in mini_batch]"


@pytest.fixture
def name(server: LocalServer) -> str:
    """A fresh name."""
    return f"az-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def az(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Runs a command of `az ml` in the test's folder; gives what it wrote to stdout.

    Other arguments are variables of the command, from then on.
    """
    monkeypatch.chdir(tmp_path)
    known = {"ENDPOINT_NAME": name}

    def call(command: str, **variables: str) -> str:
        known.update(variables)
        capsys.readouterr()
        main(shlex.split(Template(command).substitute(known)))
        return capsys.readouterr().out

    yield call
    main(["endpoint", "delete", name, "--yes"])


@contextmanager
def nothing_starts(client: SyncPrefectClient) -> Iterator[None]:
    """What is called meanwhile waits."""
    ensure_work_pool(client)
    client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
    try:
        yield
    finally:
        client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))


def asked(client: SyncPrefectClient, job: str) -> dict[str, Any]:
    """What a call asked for; it is not run."""
    run = jobs.find(client, job.strip())
    jobs.cancel(client, run)
    return {**run.parameters, "job": run.name, "tags": run.tags}


def test_in_a_shell(name: str, script_deployment: Any, numbered_files: Any, tmp_path: Path):
    """From the folder of data to the file of scores."""
    if shutil.which("jq") is None:
        pytest.skip("no jq on this machine")
    main(["endpoint", "create", name])
    main(["deployment", "create", "-f", str(script_deployment(RUN)), "-e", name, "--set-default"])
    (tmp_path / "heart-dataset-unlabeled.yml").write_text(f"name: {name}\npath: {numbered_files(3).name}\n")
    script = """
        az ml data create -f heart-dataset-unlabeled.yml
        DATASET_ID=$(az ml data show -n $ENDPOINT_NAME --label latest | jq -r .id)
        JOB_NAME=$(az ml batch-endpoint invoke --name $ENDPOINT_NAME \
            --set inputs.heart_dataset.type uri_folder inputs.heart_dataset.path $DATASET_ID | jq -r .name)
        az ml job stream -n $JOB_NAME
        az ml job show -n $JOB_NAME --query status -o tsv > status
        az ml job download --name $JOB_NAME --output-name score --download-path ./
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("az ml ", "prefect-batch ")],
        cwd=tmp_path, env={**os.environ, "PATH": path, "ENDPOINT_NAME": name},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "status").read_text() == "Completed\n"
    predictions = tmp_path / "named-outputs" / "score" / "predictions.csv"
    assert predictions.read_text() == "prediction\nitem-00000.txt\nitem-00001.txt\nitem-00002.txt\n"


def test_calls_of_a_model(
    az: Callable[..., str], name: str, script_deployment: Any, http_files: HttpFiles, tmp_path: Path
):
    (tmp_path / "endpoint.yml").write_text("name: overridden\nauth_mode: aad_token\ntags:\n  a: b\n")
    (tmp_path / "inputs.yml").write_text(f"inputs:\n  heart_dataset: azureml:/{name}@latest\n")
    (http_files.folder / "heart.csv").write_text("a\n1\n")
    url = f"{http_files.url}/heart.csv"
    az("batch-endpoint create -f endpoint.yml -n $ENDPOINT_NAME")
    made = az(
        f"batch-deployment create --file {script_deployment(RUN)} --endpoint-name $ENDPOINT_NAME --set-default "
        "--set settings.mini_batch_size=1 --skip-script-validation -g group -w workspace --no-wait"
    )
    assert json.loads(made)["settings"]["mini_batch_size"] == 1
    assert az("batch-endpoint show --name $ENDPOINT_NAME --query defaults.deployment_name -o tsv") == "scripted\n"
    with get_client(sync_client=True) as client, nothing_starts(client):
        store = default_datastore(client)
        folder = Path(store.folder.path) / name
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text("a\n1\n")
        az("data create -n $ENDPOINT_NAME --path $PLACE --type uri_folder", PLACE=f"{folder}/")
        datastore = json.loads(az("datastore show -n workspaceblobstore"))["id"]
        asset = json.loads(az("data show -n $ENDPOINT_NAME --label latest"))["id"]
        places = {"INPUT_PATH": f"{datastore}/paths/{name}", "OUTPUT_PATH": f"{datastore}/paths/batch-jobs/{name}"}

        invoke = "batch-endpoint invoke --name $ENDPOINT_NAME --query name -o tsv"
        found = asked(client, az(f"{invoke} --input $DATASET_ID", DATASET_ID=asset))
        assert found["inputs"] == {"data": asset}
        found = asked(client, az(f"{invoke} --file inputs.yml"))
        assert found["inputs"] == {"heart_dataset": f"azureml:/{name}@latest"}
        found = asked(client, az(f"{invoke} --input $INPUT_PATH --input-type uri_folder", **places))
        assert found["inputs"] == {"data": {"path": places["INPUT_PATH"], "type": "uri_folder"}}
        found = asked(
            client,
            az(
                f"{invoke} --set inputs.heart_dataset.path $INPUT_DATA --set outputs.score.path $OUTPUT_PATH",
                INPUT_DATA=url,
            ),
        )
        assert found["inputs"] == {"heart_dataset": {"path": url}}
        assert found["outputs"] == {"score": {"path": places["OUTPUT_PATH"]}}
        found = asked(
            client,
            az(
                f"{invoke} --deployment-name scripted --input $INPUT_DATA --input-type uri_file "
                "--job-name $ENDPOINT_NAME-last --experiment-name trials -m 2 -c 1 --output-path $OUTPUT_PATH"
            ),
        )
        assert (found["deployment"], found["job"]) == ("scripted", f"{name}-last")
        assert found["settings"] == {"mini_batch_size": 2, "instance_count": 1}
        assert "experiment:trials" in found["tags"]
        assert az("batch-endpoint list-jobs --name $ENDPOINT_NAME --query length(@)") == "5\n"
        shown = json.loads(az("job show -n $ENDPOINT_NAME-last -o json"))
        assert shown["experiment_name"] == "trials" and shown["status"] in ("CancelRequested", "Canceled")


def test_calls_of_a_pipeline(az: Callable[..., str], tmp_path: Path):
    (tmp_path / "deployment.yml").write_text(
        "name: steps\nendpoint_name: other\ntype: pipeline\ncomponent:\n  type: pipeline\n  inputs:\n"
        "    score_mode: {type: string}\n  outputs:\n    said: {type: uri_file}\n  jobs:\n    say:\n      component:\n"
        "        type: command\n        inputs: {mode: {type: string}}\n        outputs: {said: {type: uri_file}}\n"
        "        command: echo ${{inputs.mode}} > ${{outputs.said}}\n"
        "      inputs: {mode: '${{parent.inputs.score_mode}}'}\n      outputs: {said: '${{parent.outputs.said}}'}\n"
    )
    (tmp_path / "inputs.yml").write_text("inputs:\n  score_mode:\n    type: string\n    default: append\n")
    az("batch-endpoint create --name $ENDPOINT_NAME")
    az("batch-deployment create --file deployment.yml --endpoint $ENDPOINT_NAME --set-default")
    invoke = "batch-endpoint invoke --name $ENDPOINT_NAME"
    with get_client(sync_client=True) as client, nothing_starts(client):
        first = json.loads(az(f"{invoke} --file inputs.yml"))
        assert (first["status"], first["inputs"]) == ("NotStarted", {"score_mode": "append"})
        literal = "--set inputs.score_mode.type string inputs.score_mode.default append"
        found = asked(client, az(f"{invoke} {literal} --query name -o tsv"))
        assert found["inputs"] == {"score_mode": "append"}
        asked(client, first["name"])


def test_registries(az: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Models, environments and computes: made, changed and read as az does."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    az("batch-endpoint create --name $ENDPOINT_NAME")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.txt").write_text("1 2 3\n")
    (tmp_path / "model.yml").write_text("name: heart\npath: model\ntype: custom_model\ntags: {a: b}\n")
    az("model create -f model.yml --set tags.team=blue description='Of hearts'")
    assert az("model show -n heart --label latest --query id -o tsv") == "azureml:heart:1\n"
    assert json.loads(az("model list -n heart -o json --query [].tags")) == [{"a": "b", "team": "blue"}]
    az("model download -n heart -v 1 --download-path fetched")
    assert (tmp_path / "fetched" / "heart" / "weights.txt").read_text() == "1 2 3\n"
    with pytest.raises(SystemExit):
        az("model create -f model.yml --version 7")
    (tmp_path / "conda.yml").write_text("dependencies: [python=3.12]\n")
    (tmp_path / "env.yml").write_text("image: python:3.12\nconda_file: conda.yml\n")
    assert json.loads(az("environment create -f env.yml --name $ENDPOINT_NAME -o json"))["version"] == "1"
    assert json.loads(az("environment show -n $ENDPOINT_NAME"))["conda_file"] == {"dependencies": ["python=3.12"]}
    az("environment archive -n $ENDPOINT_NAME")
    assert az("environment list -n $ENDPOINT_NAME --query length(@)") == "0\n"
    az("compute create -n $ENDPOINT_NAME --type amlcompute --min-instances 0 --max-instances 5 --size big")
    az("compute update -n $ENDPOINT_NAME --max-instances 6")
    assert az("compute show -n $ENDPOINT_NAME --query [[size,max_instances]] -o tsv") == "big\t6\n"
    az("compute delete -n $ENDPOINT_NAME -y")


def test_updates(az: Callable[..., str], script_deployment: Any):
    path = script_deployment("return mini_batch", mini_batch_size=7)
    az("batch-endpoint create -n $ENDPOINT_NAME --set tags.team=blue")
    az(f"batch-deployment create -f {path} -e $ENDPOINT_NAME -n one")
    az("batch-endpoint update -n $ENDPOINT_NAME --set defaults.deployment_name=one tags.stage=test")
    shown = json.loads(az("batch-endpoint show -n $ENDPOINT_NAME"))
    assert (shown["defaults"]["deployment_name"], shown["tags"]) == ("one", {"team": "blue", "stage": "test"})
    az("batch-deployment update -n one -e $ENDPOINT_NAME --set settings.mini_batch_size=3 description=Faster")
    shown = json.loads(az("batch-deployment show -n one -e $ENDPOINT_NAME"))
    assert (shown["version"], shown["settings"]["mini_batch_size"], shown["description"]) == (2, 3, "Faster")
    assert shown["code_snapshot"] is not None
    with pytest.raises(SystemExit):
        az("batch-deployment update -n one -e $ENDPOINT_NAME --set model=other")
    heading, line, row = az("batch-deployment list -e $ENDPOINT_NAME -o table").splitlines()
    assert heading.split()[:2] == ["Id", "Name"] and set(line) == {"-", " "} and " one " in row
