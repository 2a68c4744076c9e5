"""Images, classified as anyone would with onnxruntime. Shared by all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image


def session(model: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model / "model.onnx"), options, providers=["CPUExecutionProvider"])


def classify(session: Any, content: bytes) -> int | None:
    """The class of an image; None where it cannot be read."""
    try:
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.float32) / 255
    except OSError:
        return None
    return int(session.run(None, {"image": pixels.transpose(2, 0, 1)[None]})[0].argmax())
