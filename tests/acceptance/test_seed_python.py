"""Programs for Azure ML's Python SDK run here once their import and their credential are changed.

Each block is one of its documents': to make an endpoint and a compute, to register data, and to call with data of every
kind, literal values, outputs and another deployment. They run in one namespace and in this order.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mlflow.sklearn
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from storage_servers import HttpFiles

ROWS = 303

IMPORTS = """
from prefect_batch.interfaces.client import BatchClient as MLClient, Input, Output
from prefect_batch.interfaces.constants import AssetTypes, BatchDeploymentOutputAction
from prefect_batch.interfaces.entities import (
    AmlCompute,
    BatchEndpoint,
    BatchRetrySettings,
    Data,
    Model,
    ModelBatchDeployment,
    ModelBatchDeploymentSettings,
    PipelineComponentBatchDeployment,
)
"""

CLIENT = """
ml_client = MLClient.from_config()
"""

ENDPOINT_AND_COMPUTE = """
# create a batch endpoint
endpoint = BatchEndpoint(
    name="endpoint-example",
    description="A batch endpoint",
)

ml_client.batch_endpoints.begin_create_or_update(endpoint)

cpu_cluster = AmlCompute(
    name="aml-cluster",
    type="amlcompute",
    size="STANDARD_DS11_V2",
    min_instances=0,
    max_instances=4,
    idle_time_before_scale_down=120,
    tier="Dedicated",
)

cpu_cluster = ml_client.compute.begin_create_or_update(cpu_cluster)
"""

DEPLOYMENT = """
deployment = ModelBatchDeployment(
    name="classifier-xgboost-mlflow",
    description="A heart condition classifier",
    endpoint_name=endpoint.name,
    model=Model(path="model", type=AssetTypes.MLFLOW_MODEL),
    compute="aml-cluster",
    settings=ModelBatchDeploymentSettings(
        instance_count=1,
        max_concurrency_per_instance=1,
        mini_batch_size=4,
        output_action=BatchDeploymentOutputAction.APPEND_ROW,
        output_file_name="predictions.csv",
        retry_settings=BatchRetrySettings(max_retries=3, timeout=300),
        logging_level="info",
    ),
)
ml_client.batch_deployments.begin_create_or_update(deployment).result()

endpoint = ml_client.batch_endpoints.get(endpoint.name)
endpoint.defaults.deployment_name = deployment.name
ml_client.batch_endpoints.begin_create_or_update(endpoint).result()
"""

DATA_ASSET = """
data_path = "heart-classifier-mlflow/data"
dataset_name = "heart-dataset-unlabeled"

heart_dataset_unlabeled = Data(
    path=data_path,
    type=AssetTypes.URI_FOLDER,
    description="An unlabeled dataset for heart classification",
    name=dataset_name,
)

ml_client.data.create_or_update(heart_dataset_unlabeled)

heart_dataset_unlabeled = ml_client.data.get(name=dataset_name, label="latest")

input = Input(path=heart_dataset_unlabeled.id)
"""

CALL = """
job = ml_client.batch_endpoints.invoke(
    endpoint_name=endpoint.name,
    inputs={
        "heart_dataset": input,
    }
)
"""

CALL_SHORT = """
job = ml_client.batch_endpoints.invoke(
   endpoint_name=endpoint.name,
   input=input,
)
"""

DATASTORE = """
default_ds = ml_client.datastores.get_default()

data_path = "heart-disease-uci-unlabeled"
input = Input(type=AssetTypes.URI_FOLDER, path=f"{default_ds.id}/paths/{data_path}")
"""

STORAGE_ACCOUNT = """
input = Input(
    type=AssetTypes.URI_FOLDER,
    path="<account>/heart-disease-uci/data"
)
"""

STORAGE_ACCOUNT_FILE = """
input = Input(
    type=AssetTypes.URI_FILE,
    path="<account>/heart-disease-uci/data/heart-unlabeled-0.csv"
)
"""

OUTPUT = """
data_path = "batch-jobs/my-unique-path"
output = Output(type=AssetTypes.URI_FOLDER, path=f"{default_ds.id}/paths/{data_path}")

input="<account>/heart-disease-uci/data"

job = ml_client.batch_endpoints.invoke(
   endpoint_name=endpoint.name,
   inputs={ "heart_dataset": input },
   outputs={ "score": output }
)
"""

ANOTHER_DEPLOYMENT = """
deployment = PipelineComponentBatchDeployment(
    name="pipeline",
    endpoint_name=endpoint.name,
    flow="pipeline.py:score",
)
deployment = ml_client.batch_deployments.begin_create_or_update(deployment).result()

job = ml_client.batch_endpoints.invoke(
    endpoint_name=endpoint.name,
    deployment_name=deployment.name,
    inputs={
        "heart_dataset": input,
    }
)
"""

LITERAL = """
endpoint.defaults.deployment_name = deployment.name
ml_client.begin_create_or_update(endpoint).result()

job = ml_client.batch_endpoints.invoke(
    endpoint_name=endpoint.name,
    inputs = {
        'score_mode': Input(type="string", default="append")
        }
)
"""

PIPELINE = """
from prefect import flow

from prefect_batch.flows.data import InputFolder, OutputFolder


@flow
def score(score: OutputFolder, heart_dataset: InputFolder | None = None, score_mode: str = "prediction_only"):
    files = len(heart_dataset.files()) if heart_dataset else 0
    (score / "scores.csv").write_text(f"mode,files\\n{score_mode},{files}\\n")
"""


@pytest.fixture
def folder(tmp_path: Path, heart_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the data, a model and a pipeline."""
    shutil.copytree(heart_data / "unlabeled", tmp_path / "heart-classifier-mlflow" / "data")
    rows = pd.read_csv(heart_data / "train" / "heart.csv")
    x, y = rows.drop(columns="target"), rows["target"]
    texts = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["thal"]), remainder="passthrough")
    model = make_pipeline(texts, LogisticRegression(max_iter=200)).fit(x, y)
    mlflow.sklearn.save_model(model, str(tmp_path / "model"), signature=infer_signature(x, model.predict(x)))
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("server")
def test_the_blocks_run(folder: Path, http_files: HttpFiles):
    shutil.copytree(folder / "heart-classifier-mlflow" / "data", http_files.folder / "heart-disease-uci" / "data")
    names: dict[str, Any] = {}

    def run(*blocks: str) -> Any:
        for block in blocks:
            exec(block.replace("<account>", http_files.url), names)
        return names.get("job")

    run(IMPORTS, CLIENT, ENDPOINT_AND_COMPUTE, DEPLOYMENT)
    assert names["cpu_cluster"].result().tier == "dedicated"
    of_asset = run(DATA_ASSET, CALL)
    assert names["heart_dataset_unlabeled"].id == "azureml:heart-dataset-unlabeled:1"
    run(DATASTORE)
    held = Path(names["default_ds"].url, "heart-disease-uci-unlabeled")
    shutil.copytree(folder / "heart-classifier-mlflow" / "data", held, dirs_exist_ok=True)
    of_datastore = run(CALL_SHORT)
    run(STORAGE_ACCOUNT)
    assert names["input"].type == "uri_folder"
    of_file = run(STORAGE_ACCOUNT_FILE, CALL)
    placed = run(OUTPUT)
    named = run(ANOTHER_DEPLOYMENT)

    for job in (of_asset, of_datastore, placed):
        assert len(job.result(timeout=120)) == ROWS
    assert list(placed.result()) == ["row", "prediction", "file_name"]
    assert len(of_file.result(timeout=120)) == 100
    assert Path(names["default_ds"].url, "batch-jobs/my-unique-path/predictions.csv").is_file()
    literal = run(LITERAL)  # it changes the default, which a job asks for when it starts
    assert named.result(timeout=120).to_dict("records") == [{"mode": "prediction_only", "files": 4}]
    assert literal.result(timeout=120).to_dict("records") == [{"mode": "append", "files": 0}]
