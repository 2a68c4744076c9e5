"""Jobs in environments of their own: built for real, with packages that cannot be installed together."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, LogFilter

from prefect_batch.flows.deployment_update import update_deployment
from prefect_batch.scoring import builder, venv
from prefect_batch.scoring.errors import BatchError

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
OLD = ["scikit-learn==1.5.2", "numpy<2"]
NEW = ["scikit-learn>=1.8", "numpy>=2"]
TRAIN = """
import pickle, sys
import numpy as np
from sklearn.ensemble import GradientBoostingClassifier

model = GradientBoostingClassifier(n_estimators=3).fit(np.arange(40.0).reshape(20, 2), np.arange(20) % 2)
with open(sys.argv[1], "wb") as file:
    pickle.dump(model, file)
"""
LOAD = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb')).predict([[1.0, 2.0]])"
SCORE = """
import os, pickle, sys
from pathlib import Path

import numpy, sklearn


def init():
    global model
    [file] = Path(os.environ["AZUREML_MODEL_DIR"]).glob("*")
    model = pickle.loads(file.read_bytes())


def run(mini_batch):
    label = int(model.predict([[1.0, 2.0]])[0])
    assert "prefect" not in sys.modules and "dask" not in sys.modules
    return [f"{Path(path).name} {label} {sklearn.__version__} {numpy.__version__}" for path in mini_batch]
"""


def python(executable: str, code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [executable, "-I", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def said(client: SyncPrefectClient, job: str) -> str:
    """The log of a job and of its subflows."""
    below = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [job]}})
    runs = [job, *(str(run.id) for run in client.read_flow_runs(flow_run_filter=below))]
    logs = client.read_logs(LogFilter.model_validate({"flow_run_id": {"any_": runs}}), limit=200)
    return "\n".join(log.message for log in sorted(logs, key=lambda log: log.timestamp))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a deployment with a scoring script; `environment` is YAML, as JSON is."""

    def make(name: str, environment: Any, script: str = SCORE, **keys: Any) -> Path:
        code = tmp_path / f"code-{name}"
        code.mkdir()
        (code / "score.py").write_text(script)
        document = {
            "name": name,
            "endpoint_name": "unused",
            "type": "model",
            "code_configuration": {"code": str(code), "scoring_script": "score.py"},
            "environment": environment,
            "settings": {"mini_batch_size": 2},
            **keys,
        }
        path = tmp_path / f"{name}.yml"
        path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))
        return path

    return make


def test_two_deployments_that_cannot_share_an_environment(
    endpoints: Any, client: SyncPrefectClient, write: Callable[..., Path], numbered_files: Any, tmp_path: Path
):
    """One endpoint, invoked twice at once: scikit-learn 1.5 with numpy<2, and the current release."""
    trained: dict[str, Path] = {}
    interpreters: dict[str, str] = {}
    for name, requirements in (("old", OLD), ("new", NEW)):
        interpreters[name] = venv.build(venv.Recipe(HERE, tuple(requirements)), print).executable
        trained[name] = tmp_path / f"{name}.pkl"
        done = python(interpreters[name], TRAIN, trained[name])
        assert done.returncode == 0, done.stderr
    for name, other in (("old", "new"), ("new", "old")):
        assert python(interpreters[name], LOAD, trained[name]).returncode == 0
        assert python(interpreters[name], LOAD, trained[other]).returncode != 0  # each loads in its own only
    conda = {"dependencies": [f"python={HERE}", "scikit-learn=1.5.2", {"pip": ["numpy<2"]}]}
    endpoints.deploy(write("old", {"conda_file": conda}, model=str(trained["old"])), "env-conflict")
    endpoints.deploy(write("new", {"python_requirements": NEW}, model=str(trained["new"])), "env-conflict")
    data = numbered_files(4)
    started = {name: endpoints.invoke("env-conflict", data, deployment=name) for name in ("old", "new")}
    ended = {name: endpoints.wait(job) for name, job in started.items()}
    for name, job in ended.items():
        assert job.state == "Completed", job.message
        assert "Building an environment" in said(client, job.id) and "+ scikit-learn==" in said(client, job.id), name
    rows = ended["old"].predictions.decode().splitlines()[1:]
    assert len(rows) == 4 and all(" 1.5.2 1.26." in row for row in rows)
    rows = ended["new"].predictions.decode().splitlines()[1:]
    assert len(rows) == 4 and all(" 1.5.2 " not in row for row in rows)
    again = endpoints.run("env-conflict", data, deployment="old")
    assert again.predictions == ended["old"].predictions
    assert "Building" not in said(client, again.id)  # built once


def test_what_cannot_be_built_fails_the_job_with_the_whole_log(
    endpoints: Any, client: SyncPrefectClient, write: Callable[..., Path], numbered_files: Any
):
    requirements = ["pandas", "scikit-learn==0.0.99"]
    endpoints.deploy(write("broken", {"python_requirements": requirements}), "env-broken")
    job = endpoints.run("env-broken", numbered_files(2))
    assert job.state == "Failed"
    assert "the environment cannot be built" in job.message and "scikit-learn==0.0.99" in job.message
    assert not (job.folder / "parts").exists() or not any((job.folder / "parts").iterdir())


def test_an_interpreter_that_is_there(
    endpoints: Any, write: Callable[..., Path], numbered_files: Any, client: SyncPrefectClient
):
    made = venv.build(venv.Recipe(HERE, ("pandas",)), print).executable
    script = "import sys\ndef init(): pass\ndef run(mini_batch): return [sys.executable for _ in mini_batch]\n"
    endpoints.deploy(write("here", {"python": made}, script), "env-python")
    job = endpoints.run("env-python", numbered_files(2))
    assert job.predictions.decode().splitlines()[1:] == [made] * 2
    endpoints.deploy(write("nowhere", {"python": "/nowhere/python"}, script), "env-python")
    job = endpoints.run("env-python", numbered_files(3))
    assert job.state == "Failed" and "environment.python: /nowhere/python is no Python" in job.message


def test_the_environment_that_a_model_recorded(
    endpoints: Any, client: SyncPrefectClient, tmp_path: Path, cancer_data: Path, model_deployment: Callable[..., Path]
):
    """`environment: model`; in the worker's Python the same model is told not to suit it."""
    import mlflow.sklearn
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression

    x, y = load_breast_cancer(return_X_y=True)
    requirements = [f"mlflow-skinny=={mlflow.__version__}", "scikit-learn==1.9.0", "numpy", "pandas"]
    model = tmp_path / "model"
    mlflow.sklearn.save_model(
        LogisticRegression(max_iter=5).fit(x, y),
        str(model),
        pip_requirements=requirements,
        serialization_format="pickle",
    )
    path = model_deployment(model)
    endpoints.deploy(path, "env-model")
    mismatch = f"the model was logged with scikit-learn==1.9.0; the environment has {version('scikit-learn')}"
    job = endpoints.run("env-model", cancer_data)
    assert job.state == "Completed" and job.summary["warnings"] == [mismatch]
    assert mismatch in said(client, job.id)
    endpoints.deploy(path, "env-model", changes={"environment": "model"})
    in_its_own = endpoints.run("env-model", cancer_data)
    assert (in_its_own.state, in_its_own.summary["warnings"]) == ("Completed", []), in_its_own.message
    assert "+ scikit-learn==1.9.0" in said(client, in_its_own.id)
    assert in_its_own.predictions == job.predictions


def test_another_version_of_python(
    endpoints: Any, write: Callable[..., Path], numbered_files: Any, cli_here: Callable[..., Any]
):
    """Registered, built ahead, and named by its label; with an old pandas too."""
    if builder.find_python("3.10") is None:
        pytest.skip("no Python 3.10 on this machine")
    conda = {"dependencies": ["python=3.10", "pandas=1.3.5", "numpy<1.24"]}
    cli_here("environment", "create", "--name", "env-ten", "--set", f"conda_file={json.dumps(conda)}")
    built = json.loads(cli_here("environment", "build", "--name", "env-ten", "-o", "json").stdout)
    assert built["version"].startswith("3.10.") and built["packages"]["pandas"] == "1.3.5"
    script = "import sys\ndef init(): pass\ndef run(mini_batch): return [sys.version.split()[0] for _ in mini_batch]\n"
    made = endpoints.deploy(write("ten", "azureml:env-ten@latest", script), "env-ten")
    assert made.environment_spec.python == "3.10"
    cli_here("environment", "create", "--name", "env-ten", "--set", 'conda_file={"dependencies": ["python=3.11"]}')
    job = endpoints.run("env-ten", numbered_files(2))  # of the version that was the latest
    assert job.predictions.decode().splitlines()[1:] == [built["version"]] * 2, job.message


def test_a_trial_run_builds(write: Callable[..., Path], numbered_files: Any, cli: Callable[..., Any], tmp_path: Path):
    script = "import six\ndef init(): pass\ndef run(mini_batch): return [six.__version__ for _ in mini_batch]\n"
    path = write("trial", {"python_requirements": ["six==1.16.0"]}, script)
    done = cli("run", "-f", path, "--input", numbered_files(2), "--output-path", tmp_path / "out")
    assert "Building an environment" in done.stderr
    assert "1.16.0" in (tmp_path / "out" / "score" / "predictions.csv").read_text()
    cli("run", "-f", write("named", "azureml:heart:1", script), "--input", tmp_path, "--output-path", "x", code=1)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ("azureml:nothing:1", "environment 'nothing' does not exist"),
        ("heart", "'heart' is not understood: write current, model, azureml:<name>:<version>"),
        ("model", "the deployment has no MLflow model"),
        ({"image": "base"}, "compute 'local' runs no containers: give conda_file or python_requirements"),
        ({"conda_file": {"dependencies": ["r-base"]}}, "r-base: not known to be the same"),
        ({"imag": "base"}, "imag is not a known key: did you mean image"),
    ],
)
def test_refused_when_it_is_deployed(endpoints: Any, write: Callable[..., Path], environment: Any, message: str):
    with pytest.raises(BatchError, match=re.escape(message)) as error:
        endpoints.deploy(write("refused", environment), "env-refused")
    assert "\n" not in str(error.value)


def test_an_update_to_another_environment(endpoints: Any, write: Callable[..., Path], client: SyncPrefectClient):
    endpoints.deploy(write("updated", {"python_requirements": ["six==1.16.0"]}), "env-updated")
    same = update_deployment(client, "env-updated", "updated", {"settings": {"mini_batch_size": 3}})
    assert same.environment_spec.requirements == ["six==1.16.0"]
    current = update_deployment(client, "env-updated", "updated", {"environment": "current"})
    assert current.environment_spec is None
