from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.environment import (
    Environment,
    EnvironmentSpec,
    comparable_of_model,
    load_environment,
    of_model,
    parse_environment,
    resolve,
)
from prefect_batch.scoring.errors import InvalidDocument

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
CONDA = "name: heart\ndependencies:\n  - python=3.12\n  - pip:\n      - scikit-learn\n"


def test_a_conda_file_is_read_relative_to_the_document(tmp_path: Path):
    (tmp_path / "conda.yml").write_text(CONDA)
    (tmp_path / "env.yml").write_text(
        "$schema: x\nname: heart\nversion: 7\nimage: python:3.12\nconda_file: conda.yml\nos_type: Linux\n"
    )
    made = load_environment(tmp_path / "env.yml", {"tags": {"team": "blue"}})
    assert made.conda_file == {"name": "heart", "dependencies": ["python=3.12", {"pip": ["scikit-learn"]}]}
    assert (made.label, made.image, made.tags) == ("azureml:heart:7", "python:3.12", {"team": "blue"})


def test_conda_packages_may_stand_in_the_document(tmp_path: Path):
    made = parse_environment({"name": "a", "conda_file": {"dependencies": ["pip"]}}, "x", tmp_path)
    assert made.conda_file == {"dependencies": ["pip"]}
    assert isinstance(made, Environment) and made.image is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "image and conda_file are missing"),
        ({"build": {"path": "."}}, "build: images are not built from a Dockerfile"),
        ({"image": "a", "imag": "b"}, "did you mean image"),
        ({"conda_file": "nowhere.yml"}, "nowhere.yml: no such file"),
        ({"conda_file": {"dependencies": "pip"}}, "must be a list of packages"),
        ({"image": "a", "os_type": "windows"}, "os_type"),
        ({"image": "a", "version": "latest"}, "is what the label means"),
        ({"conda_file": {}, "python_requirements": ["a"]}, "conda_file and python_requirements: .* keep one"),
        ({"python": "python3"}, "python: must be an absolute path"),
        ({"python_requirements": "nowhere.txt"}, r"python_requirements: .*nowhere.txt: no such file"),
        ({"python_requirements": {"a": 1}}, "give the path of a requirements file, or a list"),
    ],
)
def test_refused(tmp_path: Path, document: dict[str, Any], message: str):
    with pytest.raises(InvalidDocument, match=message) as error:
        parse_environment({"name": "heart", **document}, "env.yml", tmp_path)
    assert "\n" not in str(error.value)


def test_files_are_read_into_the_environment(tmp_path: Path):
    (tmp_path / "requirements.txt").write_text("numpy<2\n-c pins.txt\n")
    (tmp_path / "pins.txt").write_text("scipy==1.13.0\n")
    made = parse_environment({"name": "a", "python_requirements": "requirements.txt"}, "x", tmp_path)
    assert (made.python_requirements, made.python_constraints) == (["numpy<2"], ["scipy==1.13.0"])
    spec = resolve(made, "x")
    assert (spec.requirements, spec.constraints, spec.python) == (["numpy<2"], ["scipy==1.13.0"], HERE)
    assert parse_environment(made.model_dump(include={"name", "python_requirements"}), "x", tmp_path)


def test_what_an_environment_comes_to(tmp_path: Path):
    def spec(**keys: Any) -> EnvironmentSpec:
        return resolve(parse_environment({"name": "a", **keys}, "x", tmp_path), "x")

    assert spec(image="base").recipe([]) is None and spec(image="base").image == "base"
    assert spec(python="/opt/python").interpreter == "/opt/python"
    both = spec(image="base", conda_file={"dependencies": ["python=3.12", "numpy"]})
    assert (both.image, both.python, both.requirements) == ("base", "3.12", ["numpy"])


def test_what_scoring_needs_is_added_and_overrides_nothing():
    recipe = EnvironmentSpec(name="a", python="3.11", requirements=["Pandas==2.2.0"]).recipe(["pandas", "pyarrow"])
    assert recipe is not None and recipe.requirements == ("Pandas==2.2.0", "pyarrow")
    hashed = EnvironmentSpec(name="a", python="3.11", requirements=["six==1.0 --hash=sha256:00"])
    assert (built := hashed.recipe(["pandas"])) and built.requirements == ("six==1.0 --hash=sha256:00",)


def test_what_a_model_recorded(tmp_path: Path):
    assert of_model(tmp_path, "x") is None
    (tmp_path / "conda.yaml").write_text("dependencies: [python=3.10.2, pip, {pip: [mlflow==2.9.0]}]\n")
    assert of_model(tmp_path, "x") == EnvironmentSpec(name="model", python="3.10", requirements=["mlflow==2.9.0"])
    (tmp_path / "requirements.txt").write_text("mlflow==2.9.1\n")
    (tmp_path / "python_env.yaml").write_text("python: 3.12.1\nbuild_dependencies: [pip==23.0, setuptools==65.5.0]\n")
    asked = ["mlflow==2.9.1", "setuptools==65.5.0"]
    assert of_model(tmp_path, "x") == EnvironmentSpec(name="model", python="3.12", requirements=asked)


def test_a_python_that_is_too_old_is_refused(tmp_path: Path):
    old = parse_environment({"name": "a", "conda_file": {"dependencies": ["python=3.8"]}}, "x", tmp_path)
    with pytest.raises(InvalidDocument, match=r"x: python 3\.8: scoring processes need Python 3\.10 or newer"):
        resolve(old, "x")


def test_a_record_that_cannot_be_built_from_can_still_be_compared(tmp_path: Path):
    (tmp_path / "conda.yaml").write_text(
        "dependencies: [python=3.8.5, r-base, numpy=1.26, pip: [mlflow==2.9, scikit-learn==1.0, ./own.whl]]"
    )
    with pytest.raises(InvalidDocument, match="only on this machine"):
        of_model(tmp_path, "x")
    found = comparable_of_model(tmp_path)
    assert found.requirements == ["numpy==1.26.*", "mlflow==2.9", "scikit-learn==1.0"]
    assert (found.python, found.complete) == ("3.8", False)
    (tmp_path / "requirements.txt").write_text("pandas==2.0\n-e .\n")
    (tmp_path / "python_env.yaml").write_text("python: 3.9.1\n")
    found = comparable_of_model(tmp_path)
    assert (found.requirements, found.python) == (["pandas==2.0"], "3.9")
