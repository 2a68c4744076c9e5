"""Pages of documentation whose commands are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```bash\n(?P<commands>.*?)```", re.DOTALL)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """The blocks of a page that are run."""
    return [match["commands"] for match in _BLOCK.finditer(text) if not match["reason"]]


def not_run(text: str) -> list[str]:
    """The blocks that a page says are not run."""
    return [match["commands"].strip() for match in _BLOCK.finditer(text) if match["reason"]]


def clone() -> Path:
    """A folder that looks like a clone with its .venv, where relative paths mean the same to us and to the worker."""
    folder = Path(os.environ["PREFECT_BATCH_WORKING_DIRECTORY"])
    if not (folder / "examples").exists():
        shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(ROOT / "prefect.yaml", folder / "prefect.yaml")
        (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run(blocks: Sequence[str], folder: Path, seconds: float = 800) -> subprocess.CompletedProcess[str]:
    """Run the blocks in one shell and in their order. Fails at the first command that does, or when time is up."""
    lines = ["set -euo pipefail", ". .venv/bin/activate"]
    for block in blocks:
        lines += [f"echo + {shlex.quote(block.splitlines()[0])} >&2", block]
    command = ["bash", "-c", "\n".join(lines)]
    with (
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(command, cwd=folder, stdout=stdout, stderr=stderr, start_new_session=True) as shell,
    ):
        try:
            code: int | str = shell.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)  # the command that hangs too, not its shell alone
            code = f"not ended after {seconds:g} s"
        stdout.seek(0), stderr.seek(0)
        done = subprocess.CompletedProcess(command, shell.wait(), stdout.read(), stderr.read())
    assert code == 0, f"{code}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done


def broken_links(page: str) -> list[str]:
    """Links of a page to files and headings that are not there."""
    broken: list[str] = []
    for target in re.findall(r"\]\(([^)]+)\)", read(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        if not found.exists() or (anchor and anchor not in _anchors(found.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


def _anchors(text: str) -> set[str]:
    """What headings may be linked to."""
    headings = [re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()) for line in text.splitlines() if line[:1] == "#"]
    return {heading.replace(" ", "-") for heading in headings}
