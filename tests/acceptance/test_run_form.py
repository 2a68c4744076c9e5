"""Prefect's own ways to call an endpoint: the Run form in a real browser, and `prefect deployment run`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser
import pytest
from browser import RunForm
from playwright.sync_api import expect
from prefect.client.orchestration import get_client

from prefect_batch.blocks.endpoint import BatchEndpoint
from prefect_batch.flows import catalog, jobs
from prefect_batch.interfaces.local_server import LocalServer

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]
Files = Callable[[int], Path]
Make = Callable[..., str]
Open = Callable[[str], RunForm]

NAMES = "return [Path(path).name for path in mini_batch]"
HELD = """
while Path(mini_batch[0]).name >= "item-00002" and not Path({gate!r}).exists():
    time.sleep(0.05)
return [Path(path).name for path in mini_batch]
"""

PIPELINE = {
    "name": "telling",
    "endpoint_name": "unused",
    "type": "pipeline",
    "component": {
        "type": "pipeline",
        "inputs": {
            "data": {"type": "uri_folder", "description": "What to read."},
            "note": {"type": "string", "description": "Any text."},
            "mode": {"type": "string", "enum": ["append", "prediction_only"], "default": "append"},
            "folds": {"type": "integer", "min": 1, "max": 9, "default": 3},
            "exact": {"type": "boolean", "default": False},
        },
        "outputs": {"told": {"type": "uri_folder"}},
        "jobs": {
            "tell": {
                "type": "command",
                "component": {
                    "type": "command",
                    "inputs": {
                        "data": {"type": "uri_folder"},
                        "note": {"type": "string"},
                        "mode": {"type": "string"},
                        "folds": {"type": "integer"},
                        "exact": {"type": "boolean"},
                    },
                    "outputs": {"told": {"type": "uri_folder"}},
                    "command": (
                        "ls ${{inputs.data}} > ${{outputs.told}}/files && echo ${{inputs.note}} ${{inputs.mode}} "
                        "${{inputs.folds}} ${{inputs.exact}} > ${{outputs.told}}/values"
                    ),
                },
                "inputs": {
                    name: f"${{{{parent.inputs.{name}}}}}" for name in ("data", "note", "mode", "folds", "exact")
                },
                "outputs": {"told": "${{parent.outputs.told}}"},
            }
        },
    },
}


@pytest.fixture
def open_form(server: LocalServer) -> Iterator[Open]:
    """Opens the Run form of an endpoint, in a browser of the test's own."""
    with contextlib.ExitStack() as opened:

        def open_form(endpoint: str) -> RunForm:
            with get_client(sync_client=True) as client:
                deployment = jobs.find_endpoint(client, endpoint).id
            try:
                return RunForm(opened.enter_context(browser.new_page(server.ui_url)), deployment)
            except browser.Unavailable as error:
                pytest.skip(str(error))

        yield open_form


@pytest.fixture
def make(server: LocalServer) -> Make:
    """Makes an endpoint with deployments, the first of them the default."""

    def make(*files: Path) -> str:
        name = f"form-{uuid.uuid4().hex[:8]}"
        with get_client(sync_client=True) as client:
            catalog.create_endpoint(client, BatchEndpoint(name=name))
            for at, file in enumerate(files):
                catalog.create_deployment(client, file, endpoint=name, set_default=at == 0)
        return name

    return make


def test_a_model_is_called_from_its_form(
    open_form: Open, make: Make, script_deployment: Write, numbered_files: Files, tmp_path: Path
):
    gate, out = tmp_path / "gate", tmp_path / "out"
    held = script_deployment(HELD.format(gate=str(gate)), name="held", retry_settings="{timeout: 600}")
    name = make(script_deployment(NAMES, name="good"), held)
    form = open_form(name)
    fields = [label.removesuffix(" (Optional)") for label in form.labels]
    assert fields[1:6] == ["input", "outputs", "score", "deployment", "settings"] and "endpoint" not in fields

    form.fill("0", "settings", "mini_batch_size")
    form.submit()
    assert form.refusals == ["Value must be greater than or equal to 1."]
    form.fill("1", "settings", "mini_batch_size")
    form.submit()
    expect(form.field("input")).to_contain_text("'input' is a required property")
    form.fill(str(numbered_files(4)), "input")
    form.fill(str(out), "outputs", "score")
    form.choose("held", "deployment")

    job = form.make_run()
    # Two are made ready at a time, and the one that is held may come before the second.
    job.expect_artifact(re.compile("([12]) of 4 mini-batches, \\1 of 4 files, 0 failed, \\1 row"))
    job.expect_state("Running")
    gate.touch()
    job.expect_artifact("4 of 4 files scored, 4 rows in")
    job.expect_state("Completed")
    assert {"batch-summary", "batch-progress", "batch-output"} <= set(job.artifacts)
    assert (out / "predictions.csv").read_text() == "prediction\n" + "".join(f"item-0000{n}.txt\n" for n in range(4))


def test_a_pipeline_is_called_from_its_form(open_form: Open, make: Make, numbered_files: Files, tmp_path: Path):
    file = tmp_path / "pipeline.yml"
    file.write_text(json.dumps(PIPELINE))
    out = tmp_path / "out"
    form = open_form(make(file))
    assert form.labels[1:8] == [
        *("inputs", "data", "note", "mode (Optional)", "folds (Optional)", "exact (Optional)", "outputs (Optional)")
    ]
    form.fill("10", "inputs", "folds")
    form.submit()
    assert form.refusals == ["Value must be less than or equal to 9."]
    form.fill("9", "inputs", "folds")
    form.fill(str(numbered_files(2)), "inputs", "data")
    form.submit()
    expect(form.field("inputs", "note")).to_contain_text("'note' is a required property")
    assert form.field("inputs").inner_text().count("required") == 1
    form.fill("hello", "inputs", "note")
    form.choose("prediction_only", "inputs", "mode")
    form.switch("inputs", "exact")
    form.fill(str(out), "outputs", "told")

    job = form.make_run()
    job.expect_state("Completed")
    job.expect_artifact("1 of 1 steps")
    assert "batch-steps" in job.artifacts
    assert (out / "files").read_text() == "item-00000.txt\nitem-00001.txt\n"
    assert (out / "values").read_text() == "hello prediction_only 9 True\n"


def test_the_short_form_of_prefect_deployment_run(
    cli: Cli, make: Make, script_deployment: Write, numbered_files: Files, tmp_path: Path
):
    name = make(script_deployment(NAMES, name="good"), script_deployment("raise ValueError('no')", name="bad"))
    data, out = numbered_files(2), tmp_path / "out"
    relative = os.path.relpath(data, os.environ["PREFECT_BATCH_WORKING_DIRECTORY"])

    def run(*parameters: str, code: int) -> str:
        options = [option for parameter in parameters for option in ("--param", parameter)]
        done = cli("deployment", "run", f"endpoint/{name}", "--watch", *options, program="prefect", code=code)
        return re.sub(r"\s+", " ", done.stdout + done.stderr)

    run(f"input={relative}", f'outputs={{"score": "{out}"}}', code=0)
    assert (out / "predictions.csv").read_text() == "prediction\nitem-00000.txt\nitem-00001.txt\n"
    assert "Failed" in run(f'input=["{data}/item-00000.txt"]', "deployment=bad", code=1)
    assert "'input' is a required property" in run(code=1)
    assert "('data' was unexpected)" in run("input=x", 'inputs={"data": "x"}', code=1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"input": "x", "inputs": {"any": "y"}}, "input and inputs.any both name the data: give one of them"),
        ({"input": ""}, "input"),
        ({}, "inputs: nothing was given: name the data"),
    ],
)
def test_our_own_callers_are_told_in_plain_words(make: Make, script_deployment: Write, call: dict[str, Any], said: str):
    name = make(script_deployment(NAMES))
    with get_client(sync_client=True) as client, pytest.raises(Exception, match=re.escape(said)):
        jobs.invoke(client, name, call)
