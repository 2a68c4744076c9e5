"""A deployment without a scoring script: an MLflow model, given CSV, Parquet or image files.

Azure ML calls predict() once a file. A call costs 5-30 ms whatever its size, so here a mini-batch of like files is
one call; where that fails, each file is tried alone, so that only the bad one is counted.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from . import rows
from .contract import ItemError, Scored, ScoringSpec
from .errors import MiniBatchFailed
from .items import LocalItem
from .reading import IMAGES, TABLES, Unreadable, read_image, read_table
from .traces import describe, traceback_text


@dataclass
class _Input:
    """One readable file: a table, or an array whose first axis counts images."""

    position: int
    name: str
    label: str
    data: Any
    first_row: int
    tabular: bool

    @property
    def rows(self) -> int:
        return len(self.data)

    @property
    def like(self) -> tuple[Any, ...]:
        """Equal for files that one predict() can take together without changing what the model sees of each."""
        if isinstance(self.data, pd.DataFrame):
            return ("table", *((name, str(kind)) for name, kind in self.data.dtypes.items()))
        return ("array", self.data.dtype, self.data.shape[1:])


class MlflowScorer:
    """An MLflow model with the python_function flavor, loaded once in this process."""

    def __init__(self, spec: ScoringSpec) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow.pyfunc

        self.spec = spec
        self.model: Any = mlflow.pyfunc.load_model(str(spec.mlflow_model), suppress_warnings=True)
        schema: Any = self.model.metadata.get_input_schema()
        self.tensor: Any = schema.inputs[0] if schema is not None and schema.is_tensor_spec() else None
        self.columns: dict[str, tuple[str, bool]] | None = None
        if schema is not None and not schema.is_tensor_spec() and schema.has_input_names():
            self.columns = {c.name: (getattr(c.type, "name", str(c.type)), c.required) for c in schema.inputs}

    def score(self, items: list[LocalItem], final: bool) -> Scored:
        """Predict one mini-batch.

        A file that cannot be read, or does not fit the signature, fails at once. Where predict() itself raises, the
        mini-batch is left to be tried again until the `final` attempt, which keeps the good files.
        """
        inputs: list[_Input] = []
        errors: list[ItemError] = []
        for position, item in enumerate(items):
            try:
                inputs.append(self._read(position, item))
            except Exception as error:
                errors.append(ItemError([item.name], *describe(error), traceback_text(error)))
        outputs: dict[int, pd.DataFrame] = {}
        for _, group in itertools.groupby(inputs, key=lambda item: item.like):
            self._predict_group(list(group), outputs, errors, final)
        frame = _join([outputs[position] for position in sorted(outputs)])
        return Scored(self._encode(frame), failed=len(errors), errors=errors)

    def shutdown(self) -> None:
        return None

    def _read(self, position: int, item: LocalItem) -> _Input:
        path, name, kind = item.path, item.name, Path(item.path).suffix.lower()
        label = rows.printable(Path(item.file).name if self.spec.output_format == rows.AZUREML else item.file)
        if kind in TABLES:
            data: Any = read_table(path, self.columns)
            if self.tensor is not None:
                data = self._tensor(data.to_numpy(), count=len(data))
            return _Input(position, name, label, data, item.first_row, tabular=True)
        if kind in IMAGES:
            image = read_image(path)
            stack = image[None] if self.tensor is None else self._tensor(image[None], count=1)
            return _Input(position, name, label, stack, 0, tabular=False)
        known = " ".join(sorted(TABLES | IMAGES))
        raise Unreadable(f"files ending in {kind!r} are not known (known are {known}): give the deployment a script")

    def _tensor(self, array: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
        """The array in the signature's type and shape; a first axis of unknown length counts the images or rows."""
        shape: tuple[int, ...] = tuple(int(n) for n in self.tensor.shape)
        if array.ndim == len(shape) and all(want in (-1, has) for want, has in zip(shape, array.shape, strict=True)):
            return array.astype(self.tensor.type)
        # Left to numpy the first axis would become what is needed to fit: an image with an alpha channel, four images.
        wanted = (count, *shape[1:]) if shape[0] == -1 else shape
        try:
            return array.reshape(wanted).astype(self.tensor.type)
        except ValueError as error:
            raise Unreadable(f"an array of shape {array.shape} does not fit the model's signature {shape}") from error

    def _predict_group(
        self, group: list[_Input], outputs: dict[int, pd.DataFrame], errors: list[ItemError], final: bool
    ) -> None:
        filled = [item for item in group if item.rows]
        outputs.update({item.position: pd.DataFrame() for item in group if not item.rows})
        together = len(filled) > 1 and (filled[0].tabular or self.tensor is not None)
        if together and (frames := self._predict_together(filled)) is not None:
            outputs.update({item.position: frame for item, frame in zip(filled, frames, strict=True)})
            return
        for item in filled:
            try:
                outputs[item.position] = _rows(self._predict(item.data), item)
            except Exception as error:
                deterministic = type(error).__name__ == "MlflowException"
                if not (final or deterministic):
                    kind, message = describe(error)
                    raise MiniBatchFailed(f"{item.name}: {message}", kind, traceback_text(error)) from error
                errors.append(ItemError([item.name], *describe(error), traceback_text(error)))

    def _predict_together(self, items: list[_Input]) -> list[pd.DataFrame] | None:
        """One predict() for all, cut back into files; None where it fails or does not give a row for each row."""
        parts = [item.data for item in items]
        try:
            joined = (
                pd.concat(parts, ignore_index=True) if isinstance(parts[0], pd.DataFrame) else np.concatenate(parts)
            )
            frame = rows.as_frame(_checked(self._predict(joined)))
        except Exception:
            return None
        if len(frame) != sum(item.rows for item in items):
            return None
        starts = itertools.accumulate((item.rows for item in items), initial=0)
        return [_label(frame.iloc[s : s + item.rows], item) for s, item in zip(starts, items, strict=False)]

    def _predict(self, data: Any) -> Any:
        # Without a tensor signature MLflow models take one image, not a stack of one.
        return self.model.predict(data[0] if isinstance(data, np.ndarray) and self.tensor is None else data)

    def _encode(self, frame: pd.DataFrame) -> rows.Chunk:
        if self.spec.output_action == "summary_only":
            return rows.Chunk(b"", len(frame), None)
        return rows.encode(frame, self.spec.output_format, separator=",")


def _checked(prediction: Any) -> Any:
    """What predict() gave, as something with rows."""
    if isinstance(prediction, pd.Series):
        return cast("Any", prediction.to_numpy())
    if isinstance(prediction, dict):
        return pd.DataFrame(prediction)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(prediction, (pd.DataFrame, list, tuple)):
        return cast("Any", prediction)
    array: Any = np.asarray(prediction)
    return np.atleast_1d(array)


def _rows(prediction: Any, item: _Input) -> pd.DataFrame:
    return _label(rows.as_frame(_checked(prediction)), item)


def _label(frame: pd.DataFrame, item: _Input) -> pd.DataFrame:
    """Put the row's number within its file in front and the file's name behind, as Azure ML lays them out."""
    labelled = frame.reset_index(drop=True)
    labelled.columns = [str(column) for column in labelled.columns]
    if item.tabular:
        labelled.insert(0, _free("row", labelled), np.arange(item.first_row, item.first_row + len(labelled)))
    labelled[_free("file_name", labelled)] = item.label
    return labelled


def _free(name: str, frame: pd.DataFrame) -> str:
    while name in frame.columns:
        name += "_"
    return name


def _join(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
