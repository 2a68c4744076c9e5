"""Where a deployment's model comes from: a folder or file beside the YAML, or MLflow's model registry."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..scoring.errors import InvalidDocument, NotFound

_AZUREML = re.compile(r"azureml:/?(?P<name>[^:@/]+)(?::(?P<version>[^@/]+)|@(?P<label>[^/]+))")


@contextmanager
def local_copy(reference: str, beside: Path) -> Generator[tuple[Path, str]]:
    """The model as a local path, for the time of the block, and the name it goes by.

    Args:
        reference: a path (relative to `beside`), `models:/name/3`, `models:/name@alias`, `azureml:name:3` or
            `azureml:name@latest`; the latter two mean the same model of MLflow's registry.
        beside: the folder of the deployment file.

    Raises NotFound, InvalidDocument.
    """
    registered = _registry_uri(reference)
    if registered is None:
        path = (beside / Path(reference.removeprefix("file://")).expanduser()).resolve()
        if not path.exists():
            raise NotFound(f"model: {reference!r} is neither a path ({path} does not exist) nor a registered model")
        yield path, path.name
        return
    with tempfile.TemporaryDirectory(prefix="prefect-batch-model-") as folder:
        yield _download(registered, Path(folder)), "model"


def is_registered(reference: str) -> bool:
    """Whether a reference names a model of MLflow's registry, rather than a place. Raises InvalidDocument."""
    if reference.startswith("azureml:") and ("://" in reference or "/datastores/" in reference):
        return False
    return _registry_uri(reference) is not None


def _registry_uri(reference: str) -> str | None:
    if reference.startswith(("models:/", "runs:/", "mlflow-artifacts:/")):
        return reference
    if not reference.startswith("azureml:"):
        return None
    if match := _AZUREML.fullmatch(reference):
        if match["version"]:
            return f"models:/{match['name']}/{match['version']}"
        return (
            f"models:/{match['name']}/latest"
            if match["label"] == "latest"
            else f"models:/{match['name']}@{match['label']}"
        )
    raise InvalidDocument(
        f"model: {reference!r} is not understood: write azureml:<name>:<version>, models:/<name>/<version> or a path"
    )


def _download(uri: str, folder: Path) -> Path:
    if not os.environ.get("MLFLOW_TRACKING_URI") and not os.environ.get("MLFLOW_REGISTRY_URI"):
        raise InvalidDocument(
            f"model: {uri!r} is in a model registry: set MLFLOW_TRACKING_URI to the registry's address, or give a path"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder / "model")))
    except MlflowException as error:
        raise NotFound(f"model: {uri!r}: {' '.join(error.message.split())[:300]}") from None


def mlflow_folder(model_dir: Path) -> Path | None:
    """The folder with `MLmodel` at or below a model folder's top, if it holds an MLflow model."""
    found = sorted(model_dir.rglob("MLmodel"), key=lambda path: (len(path.parts), path))
    return found[0].parent if found else None
