from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_batch.blocks.environment import Environment, load_environment, parse_environment
from prefect_batch.scoring.errors import InvalidDocument

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
    ],
)
def test_refused(tmp_path: Path, document: dict[str, Any], message: str):
    with pytest.raises(InvalidDocument, match=message) as error:
        parse_environment({"name": "heart", **document}, "env.yml", tmp_path)
    assert "\n" not in str(error.value)
