"""What the steps of test pipelines run: `python step_tool.py WORD FOLDER ARGUMENT...`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

word, folder, *rest = sys.argv[1:]
where = Path(folder)


def until(path: Path) -> None:
    deadline = time.monotonic() + 90
    while not path.exists():
        if time.monotonic() > deadline:
            sys.exit(f"{path} never came")
        time.sleep(0.02)


def note(name: str, text: str) -> None:
    """A line in a file of the test's own, whole."""
    with (where / name).open("a") as file:
        file.write(text + "\n")


if word == "meet":  # two steps that only end when both run
    me, other, out = rest[:3]
    (where / me).touch()
    until(where / other)
    sys.stdout.write(f"{me} met {other}\n")
    Path(out, "out.txt").write_text(me)
elif word == "hold":  # says which processes it is, and stays until it is let go
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note("pids", f"{os.getpid()} {child.pid}")
    until(where / "go")
    child.kill()
elif word == "fail":
    for number in range(30):
        sys.stdout.write(f"line {number}\n")
    sys.stdout.flush()
    if rest and rest[0] == "then":
        until(where / rest[1])
    sys.exit(3)
elif word == "needs":  # fails until somebody mends what it needs
    note("ran", rest[0])
    if not (where / rest[0]).exists():
        sys.exit(f"no {rest[0]}")
elif word == "count":
    note("ran", rest[0])
    if len(rest) > 1:
        (Path(rest[1]) / "out.txt").write_text(rest[0])
elif word == "join":
    target, *sources = map(Path, rest)
    target.joinpath("out.txt").write_text("+".join(source.joinpath("out.txt").read_text() for source in sources))
