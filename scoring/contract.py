"""What the two ends of a scoring process say to each other. Plain data: it travels as JSON, never as a pickle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from .encoded import Chunk
from .items import LocalItem


@dataclass
class ScoringSpec:
    """All that a scoring process must know before its first mini-batch. Paths are local and absolute."""

    model_dir: str | None = None
    """Folder with exactly one child, the model; becomes AZUREML_MODEL_DIR."""
    mlflow_model: str | None = None
    """The MLflow model's own folder, for a deployment without a scoring script."""
    code_dir: str | None = None
    scoring_script: str | None = None
    output_dir: str | None = None
    """The job's output folder; becomes AZUREML_BI_OUTPUT_PATH."""
    output_action: str = "append_row"
    output_format: str = "csv"
    logging_level: str = "info"
    environment_variables: dict[str, str] = field(default_factory=dict[str, str])
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """The job's literal inputs: keyword arguments of run(), `params` of an MLflow model's predict()."""
    output_columns: dict[str, Any] = field(default_factory=dict[str, Any])
    """What goes into the output beside the prediction, as blocks/settings.py says."""
    python: str | None = None
    """The Python that it runs in, as a path; None for the worker's own."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class ItemError:
    """One cause and the items it struck; an item is None where the script lost one without saying which."""

    items: list[str | None]
    error_type: str
    message: str
    traceback: str = ""
    attempt: int = 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Scored:
    """What one run() gave: its rows encoded, how many items failed, and why."""

    chunk: Chunk
    failed: int = 0
    errors: list[ItemError] = field(default_factory=list[ItemError])


class Scorer(Protocol):
    """What a scoring process does once it is initialised."""

    def score(self, items: list[LocalItem], final: bool) -> Scored: ...

    def shutdown(self) -> None: ...
