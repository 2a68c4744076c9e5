"""Component files: Azure's, unchanged; and every mistake told with file, line and expression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.component import Asset, CommandComponent, Component, PipelineComponent
from prefect_batch.blocks.component_file import Loaded, load_component
from prefect_batch.blocks.expressions import StepOutput
from prefect_batch.blocks.graph import order
from prefect_batch.scoring.errors import InvalidDocument, NotFound

SCORE = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
name: score
version: 1
type: command
inputs:
  data: {type: uri_folder}
  mode: {type: string, default: append, enum: [append, prediction_only]}
  note: {type: string, optional: true}
outputs:
  scores:
    type: uri_folder
code: src
environment: azureml:env@latest
command: >-
  python score.py --data ${{inputs.data}} --mode ${{ inputs.mode }}
  $[[--note ${{inputs.note}}]] --scores ${{outputs.scores}}
"""
PIPELINE = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json
type: pipeline
name: batch-scoring
inputs:
  data: {type: uri_folder}
  mode: {type: string, default: append}
  note: {type: string, optional: true}
outputs:
  scores: {type: uri_folder, mode: upload}
jobs:
  score:
    type: command
    component: parts/score.yml
    inputs:
      data: ${{parent.inputs.data}}
      mode: ${{parent.inputs.mode}}
      note: ${{parent.inputs.note}}
    outputs:
      scores: {mode: upload, path: "${{parent.outputs.scores}}"}
  again:
    component: parts/score.yml
    inputs:
      data: ${{parent.jobs.score.outputs.scores}}
      mode: ${{parent.jobs.score.inputs.mode}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts" / "src").mkdir(parents=True)
    (tmp_path / "parts" / "score.yml").write_text(SCORE)
    (tmp_path / "pipeline.yml").write_text(PIPELINE)
    return tmp_path


def find(name: str, version: str | None, label: str | None) -> Component:
    if name != "greet":
        raise NotFound(f"component {name!r} does not exist")
    command = {"command": f"echo {version or label}", "name": "greet"}
    return Component(name="greet", version=version or "9", type="command", definition=command)


def load(path: Path, **changes: Any) -> Loaded:
    return load_component(path, find, changes)


def pipeline(folder: Path, text: str) -> PipelineComponent:
    (folder / "pipeline.yml").write_text(text)
    return load(folder / "pipeline.yml").pipeline


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(InvalidDocument) as caught:
        pipeline(folder, text)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder}/")


def test_azures_files(folder: Path) -> None:
    found = load(folder / "pipeline.yml").pipeline
    assert found.name == "batch-scoring"  # by reference, Azure takes a dash
    score, again = found.jobs.values()
    assert score.component.code == str(folder / "parts" / "src")
    assert score.component.command.count("\n") == 0
    assert score.outputs["scores"].path == "${{parent.outputs.scores}}"
    assert again.component == score.component
    assert order(found.jobs) == ["score", "again"]
    with pytest.raises(InvalidDocument, match=r"score.yml: is a component of type command"):
        _ = load(folder / "parts" / "score.yml").pipeline


def test_changes_are_laid_over_the_file(folder: Path) -> None:
    found = load(folder / "parts" / "score.yml", version=2, inputs={"mode": {"default": "prediction_only"}}).component
    assert (found.version, found.inputs["mode"].default) == ("2", "prediction_only")
    assert found.inputs["mode"].enum == ["append", "prediction_only"]


def test_registered_components(folder: Path) -> None:
    steps = {"one": "azureml:greet:3", "two": "azureml:greet@latest", "three": "azureml:greet"}
    found = pipeline(folder, "jobs:\n" + "".join(f"  {name}:\n    component: {ref}\n" for name, ref in steps.items()))
    assert [step.component.command for step in found.jobs.values()] == ["echo 3", "echo latest", "echo None"]
    assert found.jobs["one"].component.version == "3"
    with pytest.raises(NotFound, match=r"pipeline.yml: line 1: jobs.one.component: component 'nobody' does"):
        pipeline(folder, "jobs: {one: {component: 'azureml:nobody:1'}}\n")


def test_a_step_that_is_a_command_itself(folder: Path) -> None:
    found = pipeline(
        folder,
        "inputs: {table: {type: uri_file}, note: {type: string, optional: true}}\n"
        "outputs: {model: {type: mlflow_model}}\n"
        "jobs:\n"
        "  hello:\n    command: echo hello\n    environment: azureml:env:1\n    compute: azureml:cpu-cluster\n"
        "  train:\n    command: >-\n      python t.py ${{inputs.table}} ${{inputs.rate}}\n"
        "      $[[${{inputs.note}}]] ${{outputs.model}}\n"
        "    code: parts/src\n"
        "    inputs: {table: '${{parent.inputs.table}}', rate: 0.5, note: '${{parent.inputs.note}}'}\n"
        "    outputs: {model: '${{parent.outputs.model}}'}\n"
        "  use:\n    command: cat ${{inputs.model}} ${{inputs.rate}} ${{inputs.flag}}\n"
        "    inputs:\n      model: ${{parent.jobs.train.outputs.model}}\n"
        "      rate: ${{parent.jobs.train.inputs.rate}}\n      flag: true\n",
    )
    train, use = found.jobs["train"].component, found.jobs["use"].component
    assert {name: spec.type for name, spec in train.inputs.items()} == {
        "table": "uri_file",
        "rate": "number",
        "note": "string",
    }
    assert (train.inputs["note"].optional, train.outputs["model"].type) == (True, "mlflow_model")
    assert [spec.type for spec in use.inputs.values()] == ["mlflow_model", "number", "boolean"]
    assert found.jobs["hello"].compute == "azureml:cpu-cluster"


def test_literals_and_fixed_assets(folder: Path) -> None:
    specs = "{s: {type: string}, n: {type: number}, m: {type: mlflow_model}}"
    component = f"{{command: 'a ${{{{inputs.s}}}} ${{{{inputs.n}}}} ${{{{inputs.m}}}}', inputs: {specs}}}"
    found = pipeline(
        folder,
        f"jobs:\n  one:\n    component: {component}\n"
        "    inputs: {s: 1, n: {type: number, value: 2}, m: {type: mlflow_model, path: 'azureml:heart@latest'}}\n",
    )
    inputs = found.jobs["one"].inputs
    assert (inputs["s"], inputs["n"]) == ("1", 2)
    assert inputs["m"] == Asset(type="mlflow_model", path="azureml:heart@latest")


BINDING = "${{parent.inputs.data}}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("${{parent.inputs.dta}}", "${{parent.inputs.dta}}: the pipeline has no input 'dta': did you mean data?"),
        ("${{inputs.data}}", "${{inputs.data}} stands for an input in a command"),
        ("${{parent.outputs.scores}}", "${{parent.outputs.scores}} goes with outputs"),
        ("${{default_datastore}}", "${{default_datastore}} goes with the path of an"),
        ("${{parent.jobs.nope.outputs.o}}", "${{parent.jobs.nope.outputs.o}}: the pipeline has no step 'nope'"),
        ("${{foo.x}}", "${{foo.x}} is not an expression"),
        ("${{parent.inputs.data", "${{parent.inputs.data is not closed"),
        (
            "a${{parent.inputs.data}}",
            "${{parent.inputs.data}}: 'a${{parent.inputs.data}}': an expression must be the whole value",
        ),
        ("${{parent.inputs.mode}}", "${{parent.inputs.mode}} is of type string, and type uri_folder is expected"),
        ("some/folder", "'some/folder' is a value, and data is expected: write {type: uri_folder, path: some/folder}"),
        ("{type: mltable, path: x}", "type: mltable is not data"),
        ("{type: uri_file, path: x}", "is of type uri_file, and type uri_folder is expected"),
        ("{type: uri_folder}", "path is missing"),
        ("", "Required input 'data' for step 'score' not provided"),
    ],
)
def test_mistakes_in_a_binding(folder: Path, given: str, said: str) -> None:
    told = refusal(folder, PIPELINE.replace(BINDING, given, 1))
    assert told.startswith(f"pipeline.yml: line 15: jobs.score.inputs.data: {said}")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (BINDING, "{type: uri_folder, paht: x}", "15: jobs.score.inputs.data.paht is not a known key"),
        (
            "data: ${{parent.inputs.data}}",
            "dta: ${{parent.inputs.data}}",
            "15: jobs.score.inputs.dta: step score's component has no input 'dta': did you mean data?",
        ),
        (
            "mode: ${{parent.inputs.mode}}",
            "mode: other",
            "16: jobs.score.inputs.mode: 'other' is not one of append, prediction_only",
        ),
        (
            "mode: ${{parent.inputs.mode}}",
            "mode: {path: x}",
            "16: jobs.score.inputs.mode: is data, and one of append, prediction_only is expected",
        ),
        (
            "${{parent.outputs.scores}}",
            "${{parent.outputs.score}}",
            "19: jobs.score.outputs.scores: ${{parent.outputs.score}}: the pipeline has no output 'score'",
        ),
        (
            "${{parent.outputs.scores}}",
            "${{parent.inputs.data}}",
            "19: jobs.score.outputs.scores: ${{parent.inputs.data}} does not stand for a place",
        ),
        (
            "${{parent.outputs.scores}}",
            "a/${{parent.outputs.scores}}",
            "19: jobs.score.outputs.scores: ${{parent.outputs.scores}}: 'a/${{parent.outputs.scores}}': must be",
        ),
        (
            "      scores: {mode",
            "      sores: {mode",
            "19: jobs.score.outputs.sores: step score's component has no output 'sores': did you mean scores?",
        ),
        ('path: "${{parent.outputs.scores}}"', "path: x", "9: outputs.scores: no step writes it"),
        (
            "data: {type: uri_folder}\n  mode",
            "data: {type: uri_file}\n  mode",
            "15: jobs.score.inputs.data: ${{parent.inputs.data}} is of type uri_file",
        ),
        (
            "scores: {type: uri_folder, mode: upload}",
            "scores: {type: uri_file}",
            "19: jobs.score.outputs.scores: ${{parent.outputs.scores}} is of type uri_file, and this is a uri_folder",
        ),
        (
            "  note: {type: string, optional: true}\n",
            "  note: {type: string, optional: true}\n  more: {type: integer}\n",
            "8: inputs.more: no step uses it",
        ),
        ("  data: {type: uri_folder}\n", "  path: {type: uri_folder}\n", "5: inputs.path: 'path' is reserved"),
        (
            "  data: {type: uri_folder}\n",
            "  da-ta: {type: uri_folder}\n",
            "5: inputs.da-ta: 'da-ta' must be letters, digits and underscores",
        ),
        ("  again:", "  Again:", "20: jobs.Again: 'Again' must be lower-case letters"),
        ("  again:", "  a-gain:", "20: jobs.a-gain: 'a-gain' must be lower-case letters, digits and underscores"),
        (
            "    type: command\n",
            "    type: sweep\n",
            "12: jobs.score.type: 'sweep' is not supported: a step is of type command",
        ),
        ("    type: command\n", "    compte: x\n", "12: jobs.score.compte is not a known key: did you mean compute?"),
        (
            "component: parts/score.yml",
            "component: parts/scores.yml",
            "13: jobs.score.component: 'parts/scores.yml' is not a file (",
        ),
        (
            "component: parts/score.yml",
            "component: azureml://registries/r/components/c/versions/1",
            "13: jobs.score.component: 'azureml://registries/r/components/c/versions/1' is in a registry",
        ),
        (
            "component: parts/score.yml",
            "component: {jobs: {}}",
            "13: jobs.score.component: is a pipeline, which no step can be",
        ),
        (
            "component: parts/score.yml",
            "component: {type: parallel}",
            "13: jobs.score.component.type: 'parallel' is not supported",
        ),
        (
            "    component: parts/score.yml\n    inputs:\n      data: ${{parent.inputs.data}}",
            "    inputs:\n      data: ${{parent.inputs.data}}",
            "11: jobs.score: component is missing",
        ),
        (
            "mode: ${{parent.jobs.score.inputs.mode}}",
            "mode: ${{parent.jobs.score.inputs.md}}",
            "24: jobs.again.inputs.mode: ${{parent.jobs.score.inputs.md}}: step score has no input 'md'",
        ),
        (BINDING, "${{parent.jobs.again.outputs.scores}}", "5: inputs.data: no step uses it"),
    ],
)
def test_mistakes(folder: Path, old: str, new: str, said: str) -> None:
    assert old in PIPELINE
    assert refusal(folder, PIPELINE.replace(old, new, 1)).startswith(f"pipeline.yml: line {said}")


STEP = "  {name}:\n    component: parts/score.yml\n    inputs: {{data: '{data}'}}\n"


def test_a_circle_names_its_steps(folder: Path) -> None:
    waits = {"a": "c", "b": "a", "c": "b", "d": "c"}
    text = "jobs:\n" + "".join(
        STEP.format(name=name, data=str(StepOutput(before, "scores"))) for name, before in waits.items()
    )
    said = "${{parent.jobs.a.outputs.scores}}: steps wait for each other in a circle: a -> b -> c -> a"
    assert refusal(folder, text) == f"pipeline.yml: line 7: jobs.b.inputs.data: {said}"
    itself = "jobs:\n" + STEP.format(name="a", data="${{parent.jobs.a.outputs.scores}}")
    said = "${{parent.jobs.a.outputs.scores}}: steps wait for each other in a circle: a -> a"
    assert refusal(folder, itself) == f"pipeline.yml: line 4: jobs.a.inputs.data: {said}"


def test_inputs_bound_to_each_other(folder: Path) -> None:
    text = "jobs:\n" + STEP.format(name="a", data="${{parent.jobs.b.inputs.data}}")
    text += STEP.format(name="b", data="${{parent.jobs.a.inputs.data}}")
    said = refusal(folder, text)
    assert said.startswith("pipeline.yml: line 4: jobs.a.inputs.data: ${{parent.jobs.b.inputs.data}}: ")
    assert said.endswith(" are bound to each other in a circle")


def test_two_steps_of_one_output(folder: Path) -> None:
    text = PIPELINE + "    outputs:\n      scores: ${{parent.outputs.scores}}\n"
    said = refusal(folder, text)
    assert said.endswith(
        "line 26: jobs.again.outputs.scores: ${{parent.outputs.scores}} is written by score.scores, too"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "${{inputs.data}}",
            "${{inputs.dat}}",
            "14: command: ${{inputs.dat}}: the component has no input 'dat': did you mean data?",
        ),
        (
            "${{outputs.scores}}",
            "${{outputs.s}}",
            "14: command: ${{outputs.s}}: the component has no output 's': it has scores",
        ),
        ("${{inputs.data}}", "${{parent.inputs.data}}", "14: command: ${{parent.inputs.data}}"),
        (
            "$[[--note ${{inputs.note}}]]",
            "--note ${{inputs.note}}",
            "14: command: ${{inputs.note}} is optional: write $[[... ${{inputs.note}} ...]]",
        ),
        (
            "--data ${{inputs.data}}",
            "$[[--data ${{inputs.data}}]]",
            "14: command: ${{inputs.data}} stands in $[[ ]] and is required",
        ),
        ("code: src", "code: nowhere", "12: code: 'nowhere' is not a folder (looked at "),
        ("code: src", "code: git+https://x/y", "12: code: 'git+https://x/y' is not supported"),
        ("type: command", "type: parallel", "4: type: 'parallel' is not supported"),
        ("command: >-", "comand: >-", "14: comand is not a known key: did you mean command?"),
        ("enum: [append,", "enum: [1,", "7: inputs.mode: 1 is not a text"),
    ],
)
def test_mistakes_in_a_command(folder: Path, old: str, new: str, said: str) -> None:
    assert old in SCORE
    (folder / "parts" / "score.yml").write_text(SCORE.replace(old, new, 1))
    assert refusal(folder, PIPELINE).startswith(f"parts/score.yml: line {said}")


def test_a_default_may_stand_in_brackets_and_outside(folder: Path) -> None:
    text = SCORE.replace("--mode ${{ inputs.mode }}", "$[[--mode ${{inputs.mode}}]] ${{inputs.mode}}")
    (folder / "parts" / "score.yml").write_text(text)
    assert isinstance(load(folder / "parts" / "score.yml").component, CommandComponent)


def test_an_optional_input_is_no_required_one(folder: Path) -> None:
    text = PIPELINE.replace("data: {type: uri_folder}\n  mode", "data: {type: uri_folder, optional: true}\n  mode")
    said = "line 15: jobs.score.inputs.data: ${{parent.inputs.data}} is optional, and this input is required"
    assert said in refusal(folder, text)


@pytest.mark.parametrize("text", ["name: x\n", "jobs: {}\n", "jobs: 3\n", "type: pipeline\n", "jobs: {a: 3}\n"])
def test_what_is_no_component(folder: Path, text: str) -> None:
    assert refusal(folder, text).startswith("pipeline.yml")
