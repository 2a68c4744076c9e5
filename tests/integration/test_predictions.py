"""The same bytes whatever the number of workers and the mini-batch size, and the same as a plain loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest
from endpoints import Endpoints

from prefect_batch.scoring.errors import InvalidDocument, NotFound

SIZES, WORKERS = (1, 2, 3, 4), (1, 2, 4)


def plain_loop(model: Path, data: Path) -> bytes:
    """What a person without prefect-batch would write."""
    loaded = mlflow.pyfunc.load_model(str(model))
    frames = []
    for path in sorted(data.iterdir()):
        prediction = loaded.predict(pd.read_csv(path))
        frames.append(pd.DataFrame({"row": range(len(prediction)), "prediction": prediction, "file_name": path.name}))
    return pd.concat(frames).to_csv(index=False).encode()


@pytest.fixture(scope="module")
def heart_model(heart_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.read_csv(heart_data / "train" / "heart.csv")
    x, y = frame.drop(columns="target"), frame["target"]
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["thal"]), remainder="passthrough")
    model = make_pipeline(encode, GradientBoostingClassifier(random_state=0)).fit(x, y)
    path = tmp_path_factory.mktemp("heart") / "model"
    signature = infer_signature(x, model.predict(x))
    mlflow.sklearn.save_model(model, str(path), signature=signature, serialization_format="cloudpickle")
    return path


@pytest.fixture(scope="module")
def heart_expected(heart_model: Path, heart_data: Path) -> bytes:
    return plain_loop(heart_model, heart_data / "unlabeled")


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("size", SIZES)
def test_heart(
    endpoints: Endpoints,
    heart_data: Path,
    heart_model: Path,
    heart_expected: bytes,
    model_deployment: Callable[..., Path],
    workers: int,
    size: int,
) -> None:
    endpoints.deploy(model_deployment(heart_model), f"heart-{size}-{workers}")
    settings = {
        "mini_batch_size": size,
        "instance_count": min(workers, 2),
        "max_concurrency_per_instance": workers // 2 or 1,
    }
    ended = endpoints.run(f"heart-{size}-{workers}", heart_data / "unlabeled", settings=settings)
    assert (ended.state, ended.summary["rows"]) == ("Completed", 303)
    assert ended.predictions == heart_expected
    assert (ended.summary["mini_batches"], ended.summary["parallelism"]) == (-(-4 // size), workers)
    assert ended.record["settings"]["mini_batch_size"] == size


@pytest.mark.parametrize(("size", "workers"), [(1, 1), (2, 4), (4, 2)])
def test_cancer(
    endpoints: Endpoints,
    cancer_data: Path,
    cancer_model: Path,
    model_deployment: Callable[..., Path],
    size: int,
    workers: int,
) -> None:
    endpoints.deploy(model_deployment(cancer_model), "cancer")
    settings = {"mini_batch_size": size, "max_concurrency_per_instance": workers}
    ended = endpoints.run("cancer", cancer_data, settings=settings)
    assert ended.state == "Completed"
    assert ended.predictions == plain_loop(cancer_model, cancer_data)


def test_a_registered_model(
    endpoints: Endpoints,
    cancer_data: Path,
    cancer_model: Path,
    model_deployment: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Azure ML's reference to a registered model means MLflow's registry."""
    import mlflow

    path = model_deployment("azureml:cancer@latest")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InvalidDocument, match="set MLFLOW_TRACKING_URI"):
        endpoints.deploy(path, "registered")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = mlflow.MlflowClient(uri)
    client.create_registered_model("cancer")
    client.create_model_version("cancer", str(cancer_model))
    made = endpoints.deploy(path, "registered")
    assert made.model_snapshot is not None and made.model_snapshot.name == "model"
    assert endpoints.run("registered", cancer_data).predictions == plain_loop(cancer_model, cancer_data)
    with pytest.raises(NotFound, match="missing"):
        endpoints.deploy(model_deployment("azureml:missing:1", name="missing"), "registered")
