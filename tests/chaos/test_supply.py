"""What the code loads: no pickle, no YAML with objects, no archive, but where the reason stands here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("scoring", "blocks", "flows", "interfaces")
LOADERS = {"load", "loads", "Unpickler", "read_pickle", "full_load", "unsafe_load", "unpack_archive", "extractall"}
PICKLES = {"pickle", "cloudpickle", "joblib", "dill", "marshal", "shelve"}
ALLOWED = {
    ("flows/task_runner.py", "cloudpickle.loads"): "made by the same flow run, and sent by its own Dask cluster",
    ("flows/task_results.py", "cloudpickle.loads"): "made by the same job, read from its own folder",
}


def calls(path: Path) -> Iterator[str]:
    """Each `module.loader` that is called."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOADERS:
            yield f"{ast.unparse(node.func.value)}.{node.func.attr}"


def test_nothing_is_unpickled_that_was_not_handed_over() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), call)
        for floor in FLOORS
        for path in (ROOT / floor).rglob("*.py")
        for call in calls(path)
        if call.split(".")[0] in PICKLES or call.endswith(("read_pickle", "Unpickler", "unpack_archive", "extractall"))
    }
    assert found == set(ALLOWED)


def test_yaml_is_loaded_without_objects() -> None:
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            unsafe = [call for call in calls(path) if call.startswith("yaml.")]
            assert not unsafe, f"{path}: {unsafe}: use yaml.safe_load or a loader derived from SafeLoader"
