"""What sessions get of a processor."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this system does not group processes by their sessions")
def test_a_session_is_as_nice_as_who_leads_it() -> None:
    program = f"""
        import os, time
        from pathlib import Path
        from prefect_batch.scoring import priority
        niceness = os.nice(7)
        deadline = time.monotonic() + 20
        while True:  # Linux refuses, but to root, a second such wish within a tenth of a second, whoever had the first
            priority.lead_session()
            said = Path({str(AUTOGROUP)!r}).read_text()
            if said.endswith(f"nice {{niceness}}\\n") or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        print(said.rpartition(" ")[2].strip(), niceness)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    of_session, of_process = subprocess.run(
        command, start_new_session=True, capture_output=True, text=True, check=True
    ).stdout.split()
    assert of_session == of_process
