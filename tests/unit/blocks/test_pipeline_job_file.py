"""Files of pipeline jobs: what a pipeline takes follows from the values that the job gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.component import Component
from prefect_batch.blocks.pipeline_job_file import LoadedJob, load_pipeline_job
from prefect_batch.scoring.errors import InvalidDocument

JOB = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
display_name: Heart scoring
experiment_name: heart
description: Scores.
tags: {team: 3}
compute: azureml:batch-cluster
inputs:
  data: {type: uri_folder, path: data, mode: ro_mount}
  asset: {type: uri_folder, path: azureml:heart@latest}
  mode: append
  rate: {type: number, value: 1}
  times: 2
outputs:
  scores: {type: uri_folder, mode: upload, path: results/}
  log:
  own: {type: uri_folder, path: "azureml://datastores/${{default_datastore}}/paths/x/${{name}}"}
settings:
  default_datastore: azureml:archive
  continue_on_step_failure: false
jobs:
  one:
    command: a ${{inputs.data}} ${{inputs.asset}} ${{inputs.mode}} ${{inputs.rate}} ${{outputs.scores}}
    inputs:
      data: ${{parent.inputs.data}}
      asset: ${{parent.inputs.asset}}
      mode: ${{parent.inputs.mode}}
      rate: ${{parent.inputs.rate}}
      times: ${{parent.inputs.times}}
    outputs:
      scores: ${{parent.outputs.scores}}
      log: ${{parent.outputs.log}}
      own: ${{parent.outputs.own}}
"""
COMPONENT = """\
inputs: {x: {type: uri_folder}}
jobs:
  one:
    command: a ${{inputs.x}}
    inputs: {x: '${{parent.inputs.x}}'}
"""


def find(name: str, version: str | None, label: str | None) -> Component:
    raise AssertionError("no component is registered")


def load(path: Path, text: str = JOB, **changes: Any) -> LoadedJob:
    path.write_text(text)
    return load_pipeline_job(path, find, changes)


def test_azures_file(tmp_path: Path) -> None:
    job = load(tmp_path / "job.yml")
    pipeline = job.loaded.pipeline
    assert {name: (spec.type, spec.default) for name, spec in pipeline.inputs.items()} == {
        "data": ("uri_folder", None),
        "asset": ("uri_folder", None),
        "mode": ("string", "append"),
        "rate": ("number", 1.0),
        "times": ("integer", 2),
    }
    assert job.inputs == {
        "data": {"type": "uri_folder", "path": str(tmp_path / "data"), "mode": "ro_mount"},
        "asset": {"type": "uri_folder", "path": "azureml:heart@latest"},
    }
    assert job.outputs == {"scores": {"path": f"{tmp_path}/results/"}}
    assert pipeline.outputs["own"].path == "azureml://datastores/${{default_datastore}}/paths/x/${{name}}"
    settings = job.file.settings
    assert (settings.default_compute, settings.default_datastore) == ("batch-cluster", "archive")
    assert settings.continue_on_step_failure is False
    assert (job.title, job.file.tags, pipeline.description) == ("Heart-scoring", {"team": "3"}, "Scores.")


def test_what_set_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    changes = {
        "inputs": {"data": {"path": "other"}, "times": 5},
        "force_rerun": True,
        "settings": {"instance_count": 2},
    }
    job = load(tmp_path / "job.yml", **changes)
    assert job.inputs["data"] == {"type": "uri_folder", "path": str(tmp_path / "here" / "other"), "mode": "ro_mount"}
    assert job.loaded.pipeline.inputs["times"].default == 5
    settings = job.file.settings
    assert (settings.force_rerun, settings.instance_count, settings.default_datastore) == (True, 2, "archive")


def test_a_job_of_a_component(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "pipeline.yml").write_text(COMPONENT)
    job = load(tmp_path / "1.yml", "type: pipeline\ncomponent: parts/pipeline.yml\ninputs: {x: {path: data}}\n")
    assert job.inputs == {"x": {"path": str(tmp_path / "data")}}
    assert list(job.loaded.pipeline.inputs) == ["x"]
    assert job.title == "pipeline-job"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("jobs:", "component: x.yml\njobs:", "job.yml: component and jobs stand there: keep one"),
        ("type: pipeline\n", "type: command\n", "job.yml: line 2: type: 'command' should be 'pipeline'"),
        ("times: 2", "times: [2]", "job.yml: line 13: inputs.times: [2] is no value"),
        ("times: 2", "times:", "job.yml: line 13: inputs.times: None is no value"),
        ("times: 2", "path: 2", "job.yml: line 13: inputs.path: 'path' is reserved"),
        ("continue_on_step_failure", "continue_on_failure", "job.yml: line 20: settings.continue_on_failure is not a"),
        ("compute:", "compte:", "job.yml: line 7: compte is not a known key: did you mean compute?"),
        (
            "${{parent.inputs.rate}}",
            "${{parent.inputs.rat}}",
            "28: jobs.one.inputs.rate: ${{parent.inputs.rat}}",
        ),
        (
            "      asset: ${{parent.inputs.asset}}\n",
            "",
            "23: jobs.one.command: ${{inputs.asset}}: the",
        ),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in JOB
    with pytest.raises(InvalidDocument, match=re.escape(said)):
        load(tmp_path / "job.yml", JOB.replace(old, new, 1))


def test_nothing_to_run(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match=r"job.yml: component or jobs is missing$"):
        load(tmp_path / "job.yml", "type: pipeline\n")
