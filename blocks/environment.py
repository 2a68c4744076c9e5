"""Environments: what scoring processes run in, under a name, in versions that never change."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from ..scoring.errors import InvalidDocument
from ..scoring.venv import MINIMUM, Recipe
from . import requirements
from .documents import Text, load_yaml, merged, validate
from .versions import Versioned

CURRENT, OF_MODEL = "current", "model"
"""What `environment` of a deployment may be beside an environment: the worker's Python; what the model recorded."""
_SOURCES = ("conda_file", "python_requirements", "python")
_KEYS = {"name", "version", "description", "tags", "properties", "image", "os_type", "python_constraints", *_SOURCES}
_REFUSED = {
    "build": "images are not built from a Dockerfile: build it yourself and name it under image",
    "inference_config": "is for online endpoints: leave it out",
}


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class Environment(Versioned):
    """One version of a named environment. Immutable: a change makes a new version."""

    _block_type_name = "Batch Environment"
    _block_type_slug = "batch-environment"
    what: ClassVar[str] = "environment"
    group: ClassVar[str] = "environment"

    image: str | None = Field(default=None, description="A container image, for computes that run containers.")
    conda_file: dict[str, Any] | None = Field(default=None, description="What the conda file said when it was read.")
    python_requirements: list[str] | None = Field(default=None, description="Lines of a requirements file.")
    python_constraints: list[str] | None = Field(default=None, description="Lines of its constraints file.")
    python: str | None = Field(default=None, description="Path of a Python that is there on each machine.")
    os_type: Annotated[Literal["linux"], BeforeValidator(_lower)] = "linux"
    description: str | None = None
    tags: dict[str, Text] = Field(default_factory=dict)
    properties: dict[str, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something_to_run_in(self) -> Environment:
        given = [key for key in _SOURCES if getattr(self, key) is not None]
        if self.image is None and not given:
            raise ValueError("image and conda_file are missing: give one or both, or python_requirements, or python")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: each says which packages there are: keep one")
        if self.conda_file is not None and not isinstance(self.conda_file.get("dependencies", []), list):
            raise ValueError("conda_file.dependencies: must be a list of packages")
        if self.python is not None and not Path(self.python).is_absolute():
            raise ValueError("python: must be an absolute path, the same on each machine")
        return self


class EnvironmentSpec(BaseModel):
    """What a deployment's scoring processes run in, with all that its documents said read into it."""

    name: str
    """What messages call it."""
    python: str | None = None
    """`3.11`, of one that is to be built; None for one that is there."""
    requirements: list[str] = Field(default_factory=list)
    constraints: list[str] = Field(default_factory=list)
    interpreter: str | None = None
    """Path of a Python that is there."""
    image: str | None = None
    complete: bool = True
    """Whether it is all that a model recorded; else it is there only to be compared with."""

    @property
    def has_python(self) -> bool:
        """Whether it says which Python; else scoring processes run in the worker's, which may be that of an image."""
        return self.python is not None or self.interpreter is not None

    def recipe(self, needs: Sequence[str]) -> Recipe | None:
        """What to build, with packages that scoring processes need added to it; None for what is not built."""
        if self.python is None:
            return None
        there = {requirements.name_of(line) for line in self.requirements}
        # pip takes all packages by their hashes, or none.
        hashed = any("--hash" in line for line in self.requirements)
        added = [] if hashed else [name for name in needs if name not in there]
        return Recipe(self.python, (*self.requirements, *added), tuple(self.constraints))


def resolve(environment: Environment, where: str) -> EnvironmentSpec:
    """What an environment comes to. Raises InvalidDocument for conda packages that pip cannot give."""
    spec = EnvironmentSpec(name=environment.name, interpreter=environment.python, image=environment.image)
    if environment.conda_file is not None:
        asked = requirements.parse_conda(environment.conda_file, where)
    elif environment.python_requirements is not None:
        asked = requirements.parse_lines(environment.python_requirements, where, None)
        asked.constraints = environment.python_constraints or []
    else:
        return spec
    return _built(spec, asked, where)


def of_model(folder: Path, where: str) -> EnvironmentSpec | None:
    """What an MLflow model recorded of the environment that it was logged in; None where it did not.

    Args:
        folder: the one with `MLmodel`.
        where: named first in errors.

    Raises InvalidDocument for a record that cannot be built from.
    """
    conda, lines, about = (folder / name for name in ("conda.yaml", "requirements.txt", "python_env.yaml"))
    if lines.is_file():
        asked = requirements.read_file(lines, where)
        recorded: dict[str, Any] = load_yaml(about) if about.is_file() else {}
        if version := recorded.get("python"):
            asked.python = requirements.python_version(f"={version}", f"{where}: {about}")
        # Not only for builds: MLflow up to 2.8 imports what setuptools brings.
        builders = [str(line) for line in cast("list[Any]", recorded.get("build_dependencies") or [])]
        asked.lines += requirements.parse_lines(_not_named(builders, asked.lines), f"{where}: {about}", None).lines
    elif conda.is_file():
        asked = requirements.parse_conda(load_yaml(conda), f"{where}: {conda}")
    else:
        return None
    return _built(EnvironmentSpec(name=OF_MODEL), asked, where)


def _not_named(lines: list[str], held: list[str]) -> list[str]:
    """Those of packages that `held` does not have; without pip, which an environment needs not."""
    there = {"pip", *map(requirements.name_of, held)}
    return [line for line in lines if requirements.name_of(line) not in there]


def comparable_of_model(folder: Path) -> EnvironmentSpec:
    """What an MLflow model recorded, as far as it is understood: enough to be held against an environment.

    Raises InvalidDocument for a record that is no YAML.
    """
    conda, lines, about = (folder / name for name in ("conda.yaml", "requirements.txt", "python_env.yaml"))
    entries: list[Any] = []
    if lines.is_file():
        entries = [{"pip": [line]} for line in lines.read_text("utf-8", "replace").splitlines()]
        entries += [f"python={load_yaml(about).get('python')}"] if about.is_file() else []
    elif conda.is_file():
        for entry in cast("list[Any]", load_yaml(conda).get("dependencies") or []):
            of_pip: Any = cast("Mapping[str, Any]", entry).get("pip") if isinstance(entry, Mapping) else None
            lines_of_pip = cast("list[Any]", of_pip) if isinstance(of_pip, list) else []
            entries += [{"pip": [line]} for line in lines_of_pip] or [entry]
    found = requirements.Requirements()
    for entry in entries:
        with contextlib.suppress(InvalidDocument):
            one = requirements.parse_conda({"dependencies": [entry]}, OF_MODEL)
            found.lines += one.lines
            found.python = found.python or one.python
    return EnvironmentSpec(name=OF_MODEL, python=found.python, requirements=found.lines, complete=False)


def _built(spec: EnvironmentSpec, asked: requirements.Requirements, where: str) -> EnvironmentSpec:
    python = asked.python or f"{sys.version_info.major}.{sys.version_info.minor}"
    if tuple(map(int, python.split("."))) < MINIMUM:
        oldest = ".".join(map(str, MINIMUM))
        raise InvalidDocument(f"{where}: python {python}: scoring processes need Python {oldest} or newer")
    read = {"python": python, "requirements": asked.lines, "constraints": asked.constraints}
    return spec.model_copy(update=read)


def parse_environment(data: Mapping[str, Any], where: str, beside: Path) -> Environment:
    """An environment as its user wrote it, with Azure ML's keys (`environment.schema.json`). Raises InvalidDocument.

    Args:
        data: the mapping, `$schema` or not.
        where: the file's name, for messages.
        beside: what the relative path of a conda or requirements file starts from.
    """
    given = {key: value for key, value in data.items() if key != "$schema"}
    for key, reason in _REFUSED.items():
        if given.get(key) is not None:
            raise InvalidDocument(f"{where}: {key}: {reason}")
    if isinstance(conda := given.get("conda_file"), str):
        given["conda_file"] = load_yaml(beside / Path(conda).expanduser())
    if (asked := given.get("python_requirements")) is not None:
        read = _requirements(asked, where, beside)
        given["python_requirements"] = read.lines
        if read.constraints:
            given["python_constraints"] = read.constraints
    return validate(Environment, given, where, _KEYS)


def _requirements(asked: Any, where: str, beside: Path) -> requirements.Requirements:
    """What a requirements file says, or a list of such lines, with the files that they include."""
    where = f"{where}: python_requirements"
    if isinstance(asked, str):
        return requirements.read_file(beside / Path(asked).expanduser(), where)
    if isinstance(asked, list):
        return requirements.parse_lines([str(line) for line in cast("list[Any]", asked)], where, beside)
    raise InvalidDocument(f"{where}: give the path of a requirements file, or a list of requirements")


def load_environment(path: Path, changes: Mapping[str, Any]) -> Environment:
    """An environment's file; `changes` are laid over its keys. Raises InvalidDocument."""
    return parse_environment(merged(load_yaml(path), changes), str(path), path.parent)
