"""What Tab offers in a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prefect_batch.interfaces.cli import main

ASK = """
source "$1"
COMP_WORDS=(prefect-batch {words}) COMP_CWORD={at} COMP_LINE="prefect-batch {words}" COMP_POINT=${{#COMP_LINE}}
$(complete -p prefect-batch | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_bash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    main(["--install-completion", "--shell", "bash"])
    script = next(path for path in tmp_path.rglob("*prefect-batch*") if path.is_file())
    for words, expected in [
        (["batch-e"], "batch-endpoint"),
        (["endpoint", "lis"], "list-jobs"),
        (["invoke", "--output-p"], "--output-path"),
        (["endpoint", "show", "--que"], "--query"),
    ]:
        ask = ASK.format(words=" ".join(words), at=len(words))
        done = subprocess.run(["bash", "-c", ask, "-", script], capture_output=True, text=True, timeout=60, check=True)
        assert expected in done.stdout.split(), (words, done.stdout, done.stderr)
