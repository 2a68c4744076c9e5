"""What a flow in Python takes and gives, asked of a process of its own: a user's file may do anything when imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..blocks.interface import Interface
from ..scoring.errors import InvalidDocument

SECONDS = 120.0


def interface_of(folder: Path, entrypoint: str, seconds: float = SECONDS) -> Interface:
    """The inputs and outputs that a flow's parameters declare.

    Args:
        folder: absolute path of the folder that is deployed.
        entrypoint: the flow's file in it, and the flow: `pipelines.py:score`.
        seconds: that the import may take.

    Raises InvalidDocument for a file that cannot be imported, for what is no flow, and for a parameter that is no input
    and no output.
    """
    command = [sys.executable, "-P", "-m", "prefect_batch.flows.inspect_flow", str(folder), entrypoint]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidDocument(
            f"flow: {entrypoint} took more than {seconds:g} seconds to import: move what it computes into its tasks"
        ) from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise InvalidDocument(f"flow: {entrypoint} ended Python when it was imported: {last}") from None
    if "error" in answer:
        raise InvalidDocument(str(answer["error"]))
    return Interface.model_validate(answer)
