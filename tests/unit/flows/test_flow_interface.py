"""The interface that a flow's parameters declare, and what is no input and no output."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.flows.flow_interface import interface_of
from prefect_batch.flows.inspect_flow import main
from prefect_batch.scoring.errors import InvalidDocument

HEAD = """\
import enum
from typing import Annotated, Literal, Optional, Union
from prefect import flow, task
from pydantic import Field
from prefect_batch.flows.data import *
from prefect_batch.flows.data import InputFile, InputFolder, OutputFile, OutputFolder

class Mode(str, enum.Enum):
    fast = "fast"
    slow = "slow"

"""


def write(folder: Path, code: str, name: str = "pipelines.py") -> Path:
    (folder / name).write_text(HEAD + textwrap.dedent(code))
    return folder


@pytest.fixture
def declared(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `main` of the code declares, asked in this process: a process of its own takes seconds."""
    import sys

    from prefect_batch.flows.flow_source import forget

    def ask(code: str) -> dict[str, Any]:
        write(tmp_path, code)
        try:
            return main(tmp_path, "pipelines.py:main")
        finally:
            forget(tmp_path)
            assert "pipelines" not in sys.modules and str(tmp_path) not in sys.path

    return ask


def test_everything_that_a_parameter_can_say(tmp_path: Path):
    write(
        tmp_path,
        '''
        print("noise that is no answer")

        @flow
        def main(
            data: InputFolder,
            scores: OutputFolder,
            table: OutputFile,
            extra: InputFile | None = None,
            model: Annotated[InputFolder, Field(json_schema_extra={"type": "mlflow_model"})] = None,
            age: Annotated[int, Field(ge=1, lt=9, description="Years.", title="Age")] = 3,
            score_mode: Literal["append", "prediction_only"] = "append",
            mode: Mode = Mode.slow,
            level: Literal[1, 2] = 2,
            name: str = "x",
            flag: bool = False,
            rate: float = 1,
            limit: Optional[int] = None,
            count: int = Field(5, ge=2),
            needed: Union[int, float] = ...,
        ):
            """Score.

            Args:
                data: What to score.
                scores: The scores.
                age: Not this.
            """
        '''.replace(" = ...", " = 0.5"),
    )
    found = interface_of(tmp_path, "pipelines.py:main")
    inputs = {name: spec.model_dump(exclude_defaults=True) for name, spec in found.inputs.items()}
    assert inputs == {
        "data": {"description": "What to score."},
        "extra": {"type": "uri_file", "optional": True},
        "model": {"type": "mlflow_model", "optional": True},
        "age": {"type": "integer", "default": 3, "min": 1, "max": 8, "description": "Years.", "title": "Age"},
        "score_mode": {"type": "string", "default": "append", "enum": ["append", "prediction_only"]},
        "mode": {"type": "string", "default": "slow", "enum": ["fast", "slow"]},
        "level": {"type": "integer", "default": 2, "enum": [1, 2]},
        "name": {"type": "string", "default": "x"},
        "flag": {"type": "boolean", "default": False},
        "rate": {"type": "number", "default": 1.0},
        "limit": {"type": "integer", "optional": True},
        "count": {"type": "integer", "default": 5, "min": 2},
        "needed": {"type": "number", "default": 0.5},
    }
    outputs = {name: spec.model_dump(exclude_defaults=True) for name, spec in found.outputs.items()}
    assert outputs == {"scores": {"description": "The scores."}, "table": {"type": "uri_file"}}
    assert found.required == ["data"]
    assert not (tmp_path / "__pycache__").exists()


def test_bounds_that_exclude_their_end(declared: Any):
    code = "@flow\ndef main(rate: Annotated[float, Field(gt=0, lt=1)], n: Annotated[int, Field(gt=0, lt=3)]): ..."
    inputs = declared(code)["inputs"]
    assert 0 < inputs["rate"]["min"] < 1e-300 and 1 - 1e-15 < inputs["rate"]["max"] < 1
    assert (inputs["n"]["min"], inputs["n"]["max"]) == (1, 2)


def test_strings_as_annotations_and_an_async_flow(declared: Any):
    assert declared('@flow\nasync def main(data: "InputFolder", n: "int" = 1): ...')["inputs"] == {
        "data": {},
        "n": {"type": "integer", "default": 1},
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("x", "parameter x: has no type: use one of InputFolder"),
        ("x: list[str]", "parameter x: list[str] is not supported: use one of"),
        ("x: dict", "parameter x: dict is not supported"),
        ("x: int | str", "parameter x: int | str is not supported"),
        ("x: Literal[1, 'a']", "parameter x: choices of several types are not supported"),
        ("*x: int", "parameter x: a flow's inputs and outputs have names"),
        ("**x: int", "parameter x: a flow's inputs and outputs have names"),
        ("x: InputFolder = 'data'", "parameter x: data has no default"),
        ("x: int = 'a'", "'a' is not a whole number"),
        ("x: Annotated[int, Field(ge=5)] = 1", "1 is not a whole number from 5"),
        ("path: InputFolder", "path: 'path' is reserved"),
        ("x: 'Unknown'", "name 'Unknown' is not defined: import it"),
    ],
)
def test_what_is_no_input_and_no_output(declared: Any, parameters: str, message: str):
    error = declared(f"@flow\ndef main({parameters}): ...")["error"]
    assert message in error and "pipelines.py:main" in error and "\n" not in error


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_module", "flow: pipelines.py: line 12: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def main(:", "flow: pipelines.py: line 12: SyntaxError: invalid syntax (pipelines.py, line 12)"),
        ("raise SystemExit(3)", "flow: pipelines.py: line 12: SystemExit: 3"),
        ("def main(): ...", "flow: pipelines.py: main is no flow: decorate it with @flow (flows in it: none)"),
        ("@flow\ndef other(): ...", "flow: pipelines.py: main is not there (flows in it: other)"),
    ],
)
def test_a_file_that_cannot_be_used(declared: Any, code: str, message: str):
    assert declared(code)["error"] == message


@pytest.mark.parametrize("flow", ["main", "pipelines:main", "pipelines.py", "../pipelines.py:main", "/a/b.py:main"])
def test_what_names_no_flow(tmp_path: Path, flow: str):
    with pytest.raises(InvalidDocument, match=r"is not understood: write flow: pipelines\.py:name"):
        interface_of(tmp_path, flow)


def test_a_file_that_ends_python_and_one_that_never_ends(tmp_path: Path):
    write(tmp_path, "import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos._exit(3)\n")
    with pytest.raises(InvalidDocument, match=r"main ended Python when it was imported: last words"):
        interface_of(tmp_path, "pipelines.py:main")
    write(tmp_path, "import threading\nthreading.Event().wait()\n")
    with pytest.raises(InvalidDocument, match=r"took more than 0\.5 seconds to import"):
        interface_of(tmp_path, "pipelines.py:main", seconds=0.5)


def test_a_package_and_a_helper(tmp_path: Path):
    package = tmp_path / "steps"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "words.py").write_text("WORD = 'found'\n")
    write(package, "from .words import WORD\nimport top\n@flow\ndef main(word: str = WORD + top.WORD): ...", "flows.py")
    (tmp_path / "top.py").write_text("WORD = '!'\n")
    assert interface_of(tmp_path, "steps/flows.py:main").inputs["word"].default == "found!"
