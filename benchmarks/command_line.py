"""How long commands take, beside Python's own start and Prefect's command; and what they import."""

from __future__ import annotations

import json

import measuring
from bench import Bench, Result
from ours import BIN

RUNS = 5
"""At least: commands are short, and one is soon disturbed."""
COMMANDS = {
    "python -c pass": ["python", "-c", "pass"],
    "prefect-batch --help": ["prefect-batch", "--help"],
    "prefect --help": ["prefect", "--help"],
    "prefect-batch endpoint list": ["prefect-batch", "endpoint", "list"],
    "prefect-batch job list": ["prefect-batch", "job", "list"],
}
HEAVY = ("mlflow", "dask", "distributed", "pandas", "pyarrow", "sklearn")
"""None of it is needed to show what the server knows."""
IMPORTED = """
import contextlib, json, runpy, sys
heavy, sys.argv = sys.argv[1].split(), sys.argv[2:]
with contextlib.suppress(SystemExit):
    runpy.run_path(sys.argv[0], run_name="__main__")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def measure(bench: Bench) -> Result:
    """Seconds of each command, in turn, the first round not counted; and which of HEAVY each of ours imports."""
    env = bench.ours.env
    seconds: Result = {title: [] for title in COMMANDS}
    for number in range(bench.scaled(max(bench.repeat, RUNS), 1) + 1):
        for title, (program, *arguments) in COMMANDS.items():
            taken, _ = measuring.run([BIN / program, *arguments], env, bench.work)
            if number:
                seconds[title].append(taken.plain())
    for title, runs in seconds.items():
        bench.say(f"{title}: {measuring.median(run['wall'] for run in runs):.2f} s")
    imported: Result = {}
    for title, (program, *arguments) in COMMANDS.items():
        if program == "prefect-batch":
            command = [BIN / "python", "-c", IMPORTED, " ".join(HEAVY), BIN / program, *arguments]
            _, told = measuring.run(command, env, bench.work)
            imported[title] = json.loads(told.splitlines()[-1])
    return {"seconds": seconds, "imported": imported}
