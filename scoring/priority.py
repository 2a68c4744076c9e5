"""How much of a processor a process gets beside others."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

BACKGROUND = 10
"""Niceness of jobs, where they run beside the server that tells of them."""


def lead_session() -> None:
    """To be called by who has just begun a session: Linux may give each session as much as any other, whatever the
    niceness of what is in it, unless the session has that niceness, too."""
    with contextlib.suppress(OSError):  # nor does every Linux, nor anything else
        Path("/proc/self/autogroup").write_text(str(os.nice(0)))
