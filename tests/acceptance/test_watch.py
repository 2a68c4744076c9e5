"""`prefect-batch watch` in a terminal, and `prefect-batch endpoint schedule`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = str(Path(sys.executable).parent / "prefect-batch")


@pytest.mark.usefixtures("server")
def test_a_watch_goes_on_until_it_is_stopped(tmp_path: Path):
    (tmp_path / "incoming").mkdir()
    command = [COMMAND, "watch", "incoming", "--interval", "0.1s", "--settle", "0s"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert process.stderr.readline() == "Watching incoming; Ctrl-C ends it\n"
        for name in ("a.csv", "b.csv"):
            # whole at once: without time to settle, a look between creating and writing finds it twice
            (tmp_path / name).write_text(name)
            (tmp_path / name).rename(tmp_path / "incoming" / name)
            assert process.stderr.readline().startswith("1 new file: event ")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.usefixtures("server")
def test_schedules(cli_here: Cli, tmp_path: Path):
    cli = cli_here
    cli("endpoint", "create", "on-time")
    wrong = cli("endpoint", "schedule", "create", "on-time", "--cron", "never", code=1)
    assert wrong.stderr.startswith("Error: schedule: cron: ") and wrong.stderr.count("\n") == 1
    (tmp_path / "endpoint.yml").write_text(
        "name: on-time\nschedules:\n- {slug: hourly, interval: PT1H, parameters: {inputs: {data: /data}}}\n"
    )
    cli("endpoint", "create", "-f", "endpoint.yml", cwd=tmp_path)
    cli("endpoint", "schedule", "pause", "on-time", "hourly")
    (held,) = json.loads(cli("endpoint", "schedule", "list", "on-time", "-o", "json").stdout)
    assert (held["name"], held["active"], held["problem"]) == ("hourly", False, None)
    cli("endpoint", "schedule", "delete", "on-time", "hourly")
    gone = cli("endpoint", "schedule", "resume", "on-time", "hourly", code=1)
    assert gone.stderr == "Error: endpoint 'on-time' has no schedule 'hourly' (it has: none)\n"
