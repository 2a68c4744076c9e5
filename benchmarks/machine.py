"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import psutil


def describe(*distributions: str) -> str:
    """Processor count, memory, system and versions, as lines to print above a result."""
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in distributions)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{platform.platform()}, {psutil.cpu_count()} processors, {memory:.0f} GiB, load {load:.1f}\n"
        f"Python {platform.python_version()}, {packages}"
    )
