"""The commands as a person types them, right and wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter
from prefect.exceptions import PrefectHTTPStatusError

from prefect_batch.blocks.endpoint import BatchEndpoint
from prefect_batch.flows import catalog
from prefect_batch.interfaces.local_server import LocalServer

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]
Files = Callable[[int], Path]
RUN = "return [Path(p).name for p in mini_batch]"
FAIL = "raise ValueError('on purpose')"


@pytest.fixture
def name(server: LocalServer) -> str:
    """A fresh endpoint name."""
    return f"cli-{uuid.uuid4().hex[:8]}"


def schema_of(name: str) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(f"endpoint/{name}").parameter_openapi_schema  # type: ignore[return-value]


def test_from_endpoint_to_predictions(
    cli: Cli, name: str, script_deployment: Write, numbered_files: Files, tmp_path: Path
):
    (tmp_path / "endpoint.yml").write_text(f"name: {name}\ndescription: Names of files.\ntags: {{team: a}}\n")
    assert cli("endpoint", "create", "-f", tmp_path / "endpoint.yml").stdout.strip() == f"endpoint/{name}"
    path = script_deployment(RUN, endpoint=name, mini_batch_size=2)
    cli("deployment", "create", "-f", path, "--set-default")
    numbered_files(5)
    done = cli("invoke", name, "--input", "items-5/", "--set", "mini_batch_size=1", "--stream", cwd=tmp_path)
    job = done.stdout.strip()
    assert "Completed: 5 of 5 files scored" in done.stderr and "Finished in state" not in done.stderr
    shown = cli("job", "show", job).stdout
    assert re.search(r"mini batches +5\n", shown) and re.search(r"state +Completed\n", shown)
    assert job in cli("job", "list", "-e", name).stdout
    assert "Completed" in cli("job", "stream", job).stderr
    cli("job", "download", job, "--download-path", tmp_path / "down")
    expected = "prediction\n" + "".join(f"item-0000{n}.txt\n" for n in range(5))
    assert (tmp_path / "down" / "named-outputs" / "score" / "predictions.csv").read_text() == expected
    assert (tmp_path / "down" / "artifacts" / "summary.json").exists()
    assert "not overwritten" in cli("job", "download", job, "-p", tmp_path / "down", code=1).stderr
    assert "has completed" in cli("job", "resume", job, code=1).stderr
    assert "has ended" in cli("job", "cancel", job, code=1).stderr


def test_prefect_deployment_run(cli: Cli, name: str, script_deployment: Write, numbered_files: Files):
    cli("endpoint", "create", name)
    cli("deployment", "create", "-f", script_deployment(RUN, name="good"), "-e", name, "--set-default")
    cli("deployment", "create", "-f", script_deployment(FAIL, name="bad"), "-e", name)
    # Relative to where the worker was started.
    data = os.path.relpath(numbered_files(2), os.environ["PREFECT_BATCH_WORKING_DIRECTORY"])
    run = ["deployment", "run", f"endpoint/{name}", "--watch", "--param", f"inputs={json.dumps({'data': data})}"]
    cli(*run, program="prefect")
    cli(*run, "--param", "deployment=bad", program="prefect", code=1)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"settings": {"mini_batch_size": 0}}, "settings.mini_batch_size"),
    ({"settings": {"mini_batch": 1}}, "mini_batch"),
    ({"settings": {"error_threshold": "many"}}, "error_threshold"),
    ({"settings": {"retry_settings": {"timeout": 0}}}, "timeout"),
    ({"deployment": "other"}, "other"),
    ({"inputs": {"a": "x", "b": "y"}}, "inputs"),
    ({"inputs": {}}, "'input' is a required property"),
]


def test_the_server_refuses(cli: Cli, name: str, script_deployment: Write):
    """Whoever calls: the first by Prefect's command, all by its API."""
    with get_client(sync_client=True) as client:
        catalog.create_endpoint(client, BatchEndpoint(name=name))
        catalog.create_deployment(client, script_deployment(RUN), name, set_default=True)
        deployment = client.read_deployment_by_name(f"endpoint/{name}")
        for parameters, message in REFUSED:
            with pytest.raises(PrefectHTTPStatusError, match=message):
                client.create_flow_run_from_deployment(
                    deployment.id, parameters={"inputs": {"data": "x"}, **parameters}
                )
        arguments = ["--param", 'inputs={"data": "x"}', "--param", f"settings={json.dumps(REFUSED[0][0]['settings'])}"]
        done = cli("deployment", "run", f"endpoint/{name}", *arguments, program="prefect", code=1)
        assert REFUSED[0][1] in done.stdout + done.stderr
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment.id]}})
        )
    assert runs == []


def test_the_run_form_follows_the_default(cli_here: Cli, name: str, script_deployment: Write):
    cli_here("endpoint", "create", name)
    assert schema_of(name)["required"] == ["deployment"]
    cli_here(
        "deployment",
        "create",
        "-f",
        script_deployment(RUN, name="small", mini_batch_size=3),
        "-e",
        name,
        "--set-default",
    )
    cli_here("deployment", "create", "-f", script_deployment(RUN, name="large", mini_batch_size=70), "-e", name)

    def field() -> dict[str, Any]:
        schema = schema_of(name)
        assert schema["properties"]["deployment"]["enum"] == ["large", "small"]
        return schema["definitions"]["Settings"]["properties"]["mini_batch_size"]

    assert [branch["title"] for branch in field()["anyOf"]] == ["files", "size or rows"]
    assert field()["title"] == "mini_batch_size" and field()["description"].endswith("Default: 3.")
    cli_here("endpoint", "update", name, "--default", "large")
    assert field()["description"].endswith("Default: 70.")
    assert "first switch" in cli_here("deployment", "delete", "large", "-e", name, "--yes", code=1).stderr
    cli_here("deployment", "delete", "small", "-e", name, "--yes")
    assert schema_of(name)["properties"]["deployment"]["enum"] == ["large"]
    cli_here("endpoint", "delete", name, "--yes")
    assert name not in cli_here("endpoint", "list").stdout
    assert "does not exist" in cli_here("endpoint", "show", name, code=1).stderr


def test_lists_and_details(cli_here: Cli, name: str, script_deployment: Write):
    cli_here("endpoint", "create", name)
    path = script_deployment(RUN, name="listed")
    assert "version 1" in cli_here("deployment", "create", "-f", path, "-e", name, "--set-default").stdout
    assert "version 2" in cli_here("deployment", "create", "-f", path, "-e", name).stdout
    assert f"{name}\tlisted\t2\tyes\tlocal" in cli_here("deployment", "list", "-e", name).stdout
    assert json.loads(cli_here("deployment", "show", "listed", "-e", name).stdout)["version"] == 2
    assert f"{name}\tlisted" in cli_here("endpoint", "list").stdout
    assert f"prefect deployment run endpoint/{name}" in cli_here("endpoint", "show", name).stdout
    assert "local\tlocal" in cli_here("compute", "list").stdout
    assert json.loads(cli_here("compute", "show", "local").stdout)["type"] == "local"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["invoke", "nowhere", "--input", "/"], "endpoint 'nowhere' does not exist"),
        (["invoke", "nowhere", "--set", "inputs.note=hi"], "endpoint 'nowhere' does not exist"),
        (["job", "download", "x", "-p", "s3://bucket/x"], "-p 's3://bucket/x': must be a folder on this machine"),
        (["run", "-f", "x", "--input", "x", "--output-path", "s3://bucket/x"], "must be a folder on this machine"),
        (["datastore", "create", "x", "--type", "local", "--path", "s3://b/x"], "must be a folder on this machine"),
        (["endpoint", "create", "-f", "/not/there.yml"], "/not/there.yml: no such file"),
        (["endpoint", "create", "a_b"], "endpoint: name: 'a_b' must be 3 to 32 letters"),
        (["endpoint", "update", "nowhere", "--default", "x"], "does not exist"),
        (["endpoint", "delete", "nowhere"], "Say so with --yes"),
        (["deployment", "show", "nothing"], "no endpoint has it"),
        (["job", "show", "nothing"], "job 'nothing' does not exist"),
        (["job", "show", str(uuid.UUID(int=1))], "does not exist"),
        (["compute", "create", "a", "--type", "address"], "compute:"),
        (["compute", "delete", "nothing", "-y"], "does not exist"),
    ],
)
@pytest.mark.usefixtures("server")
def test_mistakes_get_one_line(cli_here: Cli, arguments: list[str], message: str):
    done = cli_here(*arguments, code=1)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_mistakes_in_a_call_get_one_line(cli_here: Cli, name: str, script_deployment: Write):
    cli_here("endpoint", "create", name)
    cli_here("deployment", "create", "-f", script_deployment(RUN), "-e", name, "--set-default")
    for arguments, message in [
        (["--input", "/not/there"], "input '/not/there' does not exist"),
        (["--set", "x"], "write KEY=VALUE"),
        (["--input", "/", "--set", "mini_batch_sise=2"], "did you mean mini_batch_size?"),
        (["--input", "no-store:x"], "'no-store' does not exist"),
        (["--input", "no-store:x"], "a local file of that name is ./no-store:x"),
        (["--input", "data:no-asset@latest"], "data asset 'no-asset' does not exist"),
        (["--input", "/", "--output-path", "no-store:x"], "'no-store' does not exist"),
        (["--input", "/", "--output-path", "https://host/x"], "can only be read"),
        (["--set", "inputs.note=hi", "--deployment", "nothing"], "Deployment 'nothing' not found for endpoint"),
    ]:
        said = cli_here("invoke", name, *arguments, code=1).stderr
        assert message in said and len(said.strip().splitlines()) == 1, said
    assert name not in cli_here("job", "list").stdout


def test_a_call_without_data_or_deployment_says_how_to_name_them(cli_here: Cli, name: str, script_deployment: Write):
    cli_here("endpoint", "create", name)
    said = cli_here("invoke", name, "--input", "/", code=1).stderr
    assert "name one, or set one with `prefect-batch endpoint update" in said
    cli_here("deployment", "create", "-f", script_deployment(RUN), "-e", name, "--set-default")
    assert "name the data with --input" in cli_here("invoke", name, code=1).stderr
    wrong = cli_here("invoke", "--name", name, "--set", "inputs.data.pat", "x", code=1).stderr
    assert wrong.startswith("Error: inputs.data: {'pat': 'x'} is not understood: give a path")


@pytest.mark.usefixtures("server")
def test_a_reader_that_has_seen_enough():
    pipe, closed = os.pipe()
    os.close(pipe)
    done = subprocess.run(
        [Path(sys.executable).parent / "prefect-batch", "datastore", "list"],
        stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(closed)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_no_server(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    done = cli("endpoint", "list", code=1)
    assert done.stderr.startswith("Error: No Prefect server answers")
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_server_configured(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    done = cli("endpoint", "list", code=1)
    assert done.stderr.startswith("Error: No Prefect server answers")


def test_a_deployment_file_with_a_mistake(cli_here: Cli, name: str, script_deployment: Write):
    cli_here("endpoint", "create", name)
    path = script_deployment(RUN, mini_batch_size=0)
    done = cli_here("deployment", "create", "-f", path, "-e", name, code=1)
    assert done.stderr.strip() == f"Error: {path}: settings.mini_batch_size: 0 should be greater than or equal to 1"


def test_run_without_a_server(
    cli: Cli, script_deployment: Write, numbered_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    path, data, out = script_deployment(RUN, mini_batch_size=2), numbered_files(5), tmp_path / "out"
    done = cli("run", "-f", path, "--input", data, "--output-path", out)
    assert done.stdout.strip() == str(out / "score" / "predictions.csv")
    assert sorted(p.name for p in out.iterdir()) == [
        "errors.jsonl",
        "job.json",
        "logs",
        "parts",
        "plan.json",
        "plan.jsonl",
        "runs",
        "score",
        "summary.json",
    ]
    assert not (tmp_path / "home" / "prefect.db").exists()
    assert "not an empty folder" in cli("run", "-f", path, "--input", data, "--output-path", out, code=1).stderr
    elsewhere = ("--set", "outputs.score.path=x", "--output-path", tmp_path / "out2")
    assert "leave outputs out" in cli("run", "-f", path, "--input", data, *elsewhere, code=1).stderr
    bad = script_deployment(FAIL, name="failing", retry_settings="{max_retries: 1}")
    failed = cli("run", "-f", bad, "--input", data, "--output-path", tmp_path / "out2", code=1)
    assert "nothing was scored: all 5 files failed; first: item-00000.txt: ValueError: on purpose" in failed.stderr
    assert len((tmp_path / "out2" / "errors.jsonl").read_text().splitlines()) == 5


def test_help_shows_an_example_for_each_command():
    from prefect_batch.interfaces.cli import app

    def leaves(current: Any, path: list[str]) -> list[list[str]]:
        names = [n for n in current if not n.startswith("-")]
        return [leaf for n in names for leaf in leaves(current[n], [*path, n])] if names else [path]

    commands = leaves(app, [])
    assert len(commands) > 20
    for command in commands:
        help_page = app
        for part in command:
            help_page = help_page[part]
        assert "Example: " in (help_page.help or ""), command
