"""Parameters of models: read from MLmodel files and scripts, checked when a job gives them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pytest
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

from prefect_batch.blocks.model_deployment import ModelDeployment
from prefect_batch.blocks.model_params import ANY_NAME, Param, check_params, params_of
from prefect_batch.scoring.errors import InvalidDocument


class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["x"]


def test_the_signature_of_an_mlflow_model(tmp_path: Path) -> None:
    specs = [
        ParamSpec("temperature", "double", 0.5),
        ParamSpec("k", "long", 3),
        ParamSpec("flag", "boolean", True),
        ParamSpec("word", "string", "x"),
        ParamSpec("weights", "double", [1.0, 2.0], (-1,)),
    ]
    signature = ModelSignature(inputs=Schema([ColSpec("long", "x")]), params=ParamSchema(specs))
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Model(), signature=signature, pip_requirements=[])
    assert params_of(None, tmp_path / "m") == {
        "temperature": Param(type="number", default=0.5),
        "k": Param(type="integer", default=3),
        "flag": Param(type="boolean", default=True),
        "word": Param(type="string", default="x"),
        "weights": Param(type="array", default=[1.0, 2.0]),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flavors: {}\n", {}),
        ("signature:\n  inputs: '[]'\n  params: null\n", {}),
        ("signature:\n  params: not json\n", None),
        ("- a\n", None),
        (": {\n", None),
        (None, None),
    ],
)
def test_an_mlmodel_file_without_parameters_or_sense(tmp_path: Path, text: str | None, expected: Any) -> None:
    if text is not None:
        (tmp_path / "MLmodel").write_text(text)
    assert params_of(None, tmp_path) == expected


def script(folder: Path, text: str) -> dict[str, Param] | None:
    (folder / "score.py").write_text(text)
    return params_of(folder / "score.py", None)


def of_run(folder: Path, arguments: str) -> dict[str, Param]:
    found = script(folder, f"def init(): ...\n\ndef run({arguments}): ...\n")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("a: float = 0.5", Param(type="number", default=0.5)),
        ("a: int", Param(type="integer", required=True)),
        ("a: 'str' = 'x'", Param(type="string", default="x")),
        ("a: bool = False", Param(type="boolean", default=False)),
        ("a: float | None = None", Param(type="number")),
        ("a: None | int = None", Param(type="integer")),
        ("a: typing.Optional[str] = None", Param(type="string")),
        ("a: list[str] = ['x']", Param(type="array", default=["x"])),
        ("a: dict = {}", Param(type="object", default={})),
        ("a: int | str = 3", Param(type="any", default=3)),
        ("a: np.ndarray = None", Param()),
        ("a=True", Param(type="boolean", default=True)),
        ("a=3", Param(type="integer", default=3)),
        ("a=-1.5", Param(type="number", default=-1.5)),
        ("a=(1, 2)", Param(type="array", default=[1, 2])),
        ("a=None", Param()),
        ("a=os.cpu_count()", Param()),
        ("a={1, 2}", Param()),
        ("a", Param(required=True)),
    ],
)
def test_an_argument_of_run(tmp_path: Path, argument: str, expected: Param) -> None:
    assert of_run(tmp_path, f"mini_batch, {argument}") == {"a": expected}
    assert of_run(tmp_path, f"mini_batch, *, {argument}") == {"a": expected}


def test_the_arguments_that_can_be_given_by_name(tmp_path: Path) -> None:
    assert of_run(tmp_path, "mini_batch") == {}
    assert list(of_run(tmp_path, "mini_batch, a=1, *rest, b=2, **params")) == ["a", "b", ANY_NAME]
    assert list(of_run(tmp_path, "mini_batch, c=0, /, a=1")) == ["a"]
    assert of_run(tmp_path, "*args") == {}


@pytest.mark.parametrize(
    "text",
    ["from helpers import init, run\n", "run = print\n", "if x:\n    def run(m): ...\nelse:\n    def run(m, k): ...\n"],
)
def test_a_run_that_cannot_be_read_takes_anything(tmp_path: Path, text: str) -> None:
    assert script(tmp_path, text) is None


def test_descriptions_are_those_of_the_docstring(tmp_path: Path) -> None:
    text = '''
def run(mini_batch, temperature: float = 0.5, k=3, other=1):
    """Score.

    Args:
        mini_batch: paths.
        temperature (float): How bold.
        k: Neighbours.
    """
'''
    found = script(tmp_path, text)
    assert found is not None
    assert {name: p.description for name, p in found.items()} == {
        "temperature": "How bold.",
        "k": "Neighbours.",
        "other": None,
    }


SCHEMA = {
    "t": Param(type="number", default=0.5),
    "k": Param(type="integer", required=True),
    "word": Param(type="string", default="x"),
    "flag": Param(type="boolean"),
    "names": Param(type="array"),
    "map": Param(type="object"),
    "free": Param(),
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"t": "0.2"}, {"t": 0.2}),
        ({"t": 1}, {"t": 1.0}),
        ({"k": "7"}, {"k": 7}),
        ({"k": 7.0}, {"k": 7}),
        ({"word": 7}, {"word": "7"}),
        ({"word": "true"}, {"word": "true"}),
        ({"flag": "True"}, {"flag": True}),
        ({"flag": None}, {"flag": None}),
        ({"names": '["a"]'}, {"names": ["a"]}),
        ({"map": {"a": 1}}, {"map": {"a": 1}}),
        ({"free": "0.2"}, {"free": "0.2"}),
    ],
)
def test_values_take_the_parameters_type(given: dict[str, Any], expected: dict[str, Any]) -> None:
    checked = check_params(SCHEMA, {"k": 1, **given})
    assert checked == {"k": 1, **expected}
    assert {name: type(value) for name, value in checked.items()} == {
        name: type(value) for name, value in {"k": 1, **expected}.items()
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"t": "hot"}, "inputs.params.t: 'hot' must be a number"),
        ({"t": None}, "inputs.params.t: None must be a number"),
        ({"t": True}, "inputs.params.t: True must be a number"),
        ({"k": 1.5}, "inputs.params.k: 1.5 must be a whole number"),
        ({"k": "nan"}, "inputs.params.k: 'nan' must be a whole number"),
        ({"k": None}, "inputs.params.k: None must be a whole number"),
        ({"word": True}, "inputs.params.word: True must be a text"),
        ({"flag": "yes"}, "inputs.params.flag: 'yes' must be true or false"),
        ({"flag": 1}, "inputs.params.flag: 1 must be true or false"),
        ({"names": "a"}, "inputs.params.names: 'a' must be a list"),
        ({"map": []}, "inputs.params.map: [] must be a mapping"),
        ({"wrd": 1}, "inputs.params.wrd is not known: did you mean word?"),
        ({"zzz": 1}, "inputs.params.zzz is not known: the model takes t (number), k (integer), word (string), flag"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDocument, match=f"^{re.escape(said)}"):
        check_params(SCHEMA, {"k": 1, **given})


def test_missing_and_unknown_ones() -> None:
    with pytest.raises(InvalidDocument, match=r"^inputs.params.k is missing: give a whole number$"):
        check_params(SCHEMA, {})
    with pytest.raises(
        InvalidDocument, match=r"^inputs.params.a is not known: the model takes no parameters: leave it"
    ):
        check_params({}, {"a": 1})
    assert check_params({ANY_NAME: Param(), **SCHEMA}, {"k": "1", "a": "1"}) == {"k": 1, "a": "1"}
    assert check_params(None, {"a": 1}) == {"a": 1}


def test_a_deployment_keeps_them() -> None:
    deployment = ModelDeployment(name="gbm", endpoint_name="heart", params_schema=SCHEMA)
    assert ModelDeployment.model_validate(deployment.model_dump(mode="json")).params_schema == SCHEMA
    assert ModelDeployment(name="gbm", endpoint_name="heart").params_schema is None
