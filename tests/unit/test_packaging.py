"""What pyproject.toml and requirements.lock say, against what lies in the folders."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FLOORS = ("flows", "blocks", "scoring", "interfaces")
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
REQUIREMENTS = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"]


def folders_with_modules() -> set[str]:
    return {
        path.parent.relative_to(ROOT).as_posix()
        for floor in FLOORS
        for path in (ROOT / floor).rglob("*.py")
        if "__pycache__" not in path.parts
    }


def test_every_folder_with_modules_is_a_package():
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == {
        f"prefect_batch.{folder.replace('/', '.')}" for folder in folders_with_modules()
    }


def test_every_package_is_mapped_to_its_folder():
    mapped: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
    for package in PROJECT["tool"]["setuptools"]["packages"]:
        top = ".".join(package.split(".")[:2])
        assert mapped[top] == top.removeprefix("prefect_batch.")
    assert set(mapped.values()) == set(FLOORS)


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_is_typed_and_seen_by_the_type_checker(floor: str):
    assert (ROOT / floor / "py.typed").is_file()
    link = ROOT / ".typing" / "prefect_batch" / floor
    assert link.is_symlink() and link.resolve() == ROOT / floor
    assert floor in PROJECT["tool"]["pyright"]["include"]


def test_the_lock_holds_names_and_versions_only():
    bad = [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._!+-]+", line)]
    assert bad == []
    names = [canonicalize_name(line.split("==")[0]) for line in LOCK]
    assert len(set(names)) == len(names)
    assert "prefect-batch" not in names


@pytest.mark.parametrize("text", REQUIREMENTS)
def test_the_lock_satisfies(text: str):
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCK)}
    requirement = Requirement(text)
    name = canonicalize_name(requirement.name)
    assert name in locked, f"{name} is not in requirements.lock: run `make lock`"
    assert requirement.specifier.contains(locked[name], prereleases=True)


def test_ci_runs_what_the_readme_says():
    commands = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."', "exec make test"]
    assert "```bash\nmake test\n```" in (ROOT / "README.md").read_text(encoding="utf-8")
