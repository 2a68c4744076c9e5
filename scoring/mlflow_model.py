"""A deployment without a scoring script: an MLflow model, given tables or images.

Azure ML calls predict() once a file. A call costs 5-30 ms whatever its size, so here a mini-batch of like files is
one call; where that fails, each file is tried alone, so that only the bad one is counted. A long compressed table,
which cannot be split, is predicted in chunks as it is read.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from . import rows
from .columns import Origin, OutputColumns, file_label, lay_out
from .contract import ItemError, Scored, ScoringSpec
from .encoded import Chunk
from .endings import TABLES
from .errors import MiniBatchFailed, Unreadable
from .items import LocalItem
from .reading import IMAGES, read_image, read_table
from .table_files import COMPRESSIONS, Table, kind_of
from .traces import describe, traceback_text


@dataclass
class _Input:
    """One readable file, or a chunk of one: a table, or an array whose first axis counts images or rows."""

    position: int
    name: str
    label: str
    data: Any
    first_row: int = 0
    carried: pd.DataFrame | None = None
    """Input columns for the output; None for an image."""

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
        self.asked = OutputColumns(**spec.output_columns)
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
        outputs: dict[int, pd.DataFrame] = {}
        errors: list[ItemError] = []
        for position, item in enumerate(items):
            try:
                chunks = self._read(position, item)
                head = list(itertools.islice(chunks, 2))
            except Exception as error:
                errors.append(_item_error(item.name, error))
                continue
            if len(head) == 1:
                inputs += head
            elif (frame := self._predict_stream(itertools.chain(head, chunks), item, errors, final)) is not None:
                outputs[position] = frame
        for _, group in itertools.groupby(inputs, key=lambda item: item.like):
            self._predict_group(list(group), outputs, errors, final)
        frame = _join([outputs[position] for position in sorted(outputs)])
        return Scored(self._encode(frame), failed=len(errors), errors=errors)

    def shutdown(self) -> None:
        return None

    def _read(self, position: int, item: LocalItem) -> Iterator[_Input]:
        """The file, in one chunk unless it is a long compressed table."""
        name, kind, label = item.name, kind_of(item.path), file_label(item, self.spec.output_format)
        if kind in TABLES:
            for table in read_table(item.path, self.columns, self.asked.input, item.first_row):
                yield self._table(table, position, name, label)
        elif kind in IMAGES:
            if self.asked.named:
                raise Unreadable(f"an image has no column {', '.join(map(repr, self.asked.named))} (output_columns)")
            image = read_image(item.path)
            yield _Input(position, name, label, image[None] if self.tensor is None else self._tensor(image[None], 1))
        else:
            known, packed = " ".join(sorted(TABLES | IMAGES)), " ".join(sorted(COMPRESSIONS))
            raise Unreadable(
                f"files ending in {kind!r} are not known (known are {known}, text tables also with {packed} behind): "
                "give the deployment a script"
            )

    def _table(self, table: Table, position: int, name: str, label: str) -> _Input:
        data: Any = table.data
        if self.tensor is not None:
            data = self._tensor(data.to_numpy(), count=len(data))
        return _Input(position, name, label, data, table.first_row, table.carried)

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
        together = len(filled) > 1 and (filled[0].carried is not None or self.tensor is not None)
        if together and (frames := self._predict_together(filled)) is not None:
            outputs.update({item.position: frame for item, frame in zip(filled, frames, strict=True)})
            return
        for item in filled:
            if (frame := self._predict_alone(item, errors, final)) is not None:
                outputs[item.position] = frame

    def _predict_alone(self, item: _Input, errors: list[ItemError], final: bool) -> pd.DataFrame | None:
        """The output's rows of one file or chunk; None, and an error, where predict() refuses it for good."""
        try:
            return self._label(rows.as_frame(_checked(self._predict(item.data))), item)
        except Exception as error:
            deterministic = isinstance(error, Unreadable) or type(error).__name__ == "MlflowException"
            if not (final or deterministic):
                kind, message = describe(error)
                raise MiniBatchFailed(f"{item.name}: {message}", kind, traceback_text(error)) from error
            errors.append(_item_error(item.name, error))
            return None

    def _predict_stream(
        self, chunks: Iterator[_Input], item: LocalItem, errors: list[ItemError], final: bool
    ) -> pd.DataFrame | None:
        """A long file chunk by chunk. One chunk that cannot be read or predicted fails all of the file."""
        frames: list[pd.DataFrame] = []
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as error:
                errors.append(_item_error(item.name, error))
                return None
            if chunk is None:
                return _join(frames)
            if chunk.rows:
                frame = self._predict_alone(chunk, errors, final)
                if frame is None:
                    return None
                frames.append(frame)

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
        return [self._label(frame.iloc[s : s + item.rows], item) for s, item in zip(starts, items, strict=False)]

    def _predict(self, data: Any) -> Any:
        # Without a tensor signature MLflow models take one image, not a stack of one.
        options = {"params": self.spec.params} if self.spec.params else {}
        return self.model.predict(data[0] if isinstance(data, np.ndarray) and self.tensor is None else data, **options)

    def _label(self, frame: pd.DataFrame, item: _Input) -> pd.DataFrame:
        if self.asked.input and item.carried is not None and len(frame) != item.rows:
            raise Unreadable(
                f"the model gave {len(frame)} rows for {item.rows}: there is no telling which input columns go with "
                "which: set output_columns.input to none"
            )
        numbers = None if item.carried is None else np.arange(item.first_row, item.first_row + len(frame))
        carried = item.carried if self.asked.input else None
        return lay_out(frame, self.asked, Origin(item.label, numbers, carried), self.spec.output_format)

    def _encode(self, frame: pd.DataFrame) -> Chunk:
        if self.spec.output_action == "summary_only":
            return Chunk(b"", len(frame), None)
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


def _item_error(name: str, error: Exception) -> ItemError:
    return ItemError([name], *describe(error), traceback_text(error))


def _join(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
