"""Batch scoring from a trained model to its predictions, on this machine: what `make demo` runs.

    python examples/demo.py [--keep | --stop]

--keep   leave the server running, for you to look around in
--stop   stop a server that was left running

Everything is written to the folder .demo of the checkout, or to PREFECT_BATCH_DEMO_DIR.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
FOLDER = Path(os.environ.get("PREFECT_BATCH_DEMO_DIR") or ROOT / ".demo").absolute()
STATE = FOLDER / "server.json"
JOB_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STOP_SECONDS = 20


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--keep", action="store_true")
    arguments.add_argument("--stop", action="store_true")
    given = arguments.parse_args()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)  # ends as Ctrl-C does: with everything stopped
    set_environment()
    if given.stop:
        print("The demo's server is stopped." if stop_server() else "No server of the demo is running.")
        return 0
    try:
        return demo(given.keep)
    except KeyboardInterrupt:
        kept = "The server that was left running goes on." if running_server() else "Nothing is left running."
        print(f"\nInterrupted. {kept}")
        return 130
    except subprocess.CalledProcessError as error:
        print(f"\nThat did not work: {shlex.join(error.cmd)} ended with exit code {error.returncode}.")
        print(f"{error.output or ''}The server's log: {show(FOLDER / 'server.log')}")
        return 1


def set_environment() -> None:
    """A Prefect home of the demo's own: whatever Prefect set-up there is on this machine is left alone."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
        del os.environ[name]
    os.environ |= {
        "PREFECT_BATCH_DEMO_DIR": str(FOLDER),
        "PREFECT_HOME": str(FOLDER / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def demo(keep: bool) -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    title(1, "A model and data to score")
    run("python", "examples/demo/train.py", FOLDER)
    for name in ("endpoint.yml", "deployment.yml"):
        shutil.copyfile(ROOT / "examples" / "demo" / name, FOLDER / name)

    title(2, "A server on this machine")
    say("It remembers endpoints and jobs and has a web page for them; a worker beside it runs the jobs.")
    job: str | None = None
    server = running_server()
    kept = server is not None
    try:
        server = server or start_server(keep)
        keep = server["keep"]
        os.environ["PREFECT_API_URL"] = server["api_url"]
        say(f"Web page: {server['ui_url']}" + (" (was still running)" if kept else ""))
        say(f"Its log:  {show(FOLDER / 'server.log')}")

        title(3, "A batch endpoint: a name that anyone can call")
        run("prefect-batch", "endpoint", "create", "-f", FOLDER / "endpoint.yml")
        say("Behind the name goes a deployment: the model, and the settings that jobs start from.")
        run("prefect-batch", "deployment", "create", "-f", FOLDER / "deployment.yml", "--set-default")

        title(4, "A call: it makes a job, and returns at once")
        inputs = json.dumps({"data": str(FOLDER / "data")})
        printed = run("prefect", "deployment", "run", "endpoint/default", "--param", f"inputs={inputs}", quiet=True)
        found = JOB_ID.search(printed)
        if found is None:
            raise subprocess.CalledProcessError(0, ["prefect", "deployment", "run", "endpoint/default"], printed)
        job = found[0]
        say(f"The job's id is {job}.")
        say("Its files are cut into mini-batches, here of one file each, and two are scored at a time.")
        say("The first job takes a while to start; then it goes fast.")
        run("prefect-batch", "job", "stream", job)
        finished, job = job, None

        title(5, "The job, and its predictions")
        details = run("prefect-batch", "job", "show", finished)
        predictions = output_file(details)
        lines = predictions.read_text().splitlines()
        say(f"The first of {len(lines) - 1} predictions; `row` is the row within the file, counted from 0:")
        print(table(lines[:6]))
        say(f"All of them: {show(predictions)}")
    except BaseException:
        keep = kept  # one that was running before goes on
        if job is not None:
            cancel(job)
        raise
    finally:
        if not keep:
            stop_server()
    print()
    if keep:
        say(f"The server goes on running. Web page of this job: {server['ui_url']}/runs/flow-run/{finished}")
        say("To call the endpoint yourself:")
        say(f"  export PREFECT_API_URL={server['api_url']} PATH={shlex.quote(str(BIN))}:$PATH")
        say(f"  prefect-batch invoke default --input {shlex.quote(show(FOLDER / 'data'))} --stream")
        say("To stop the server: make demo-stop")
    else:
        say("The server is stopped. `make demo KEEP=1` leaves it running, so that you can look at the web page.")
        say("Your own model: see README.md.")
    return 0


# ----------------------------------------------------------------------------------------------- commands


def run(*command: str | Path, quiet: bool = False) -> str:
    """Show a command as one would type it, run it, and show and return what it prints."""
    shown = shlex.join(show(part) if isinstance(part, Path) else part for part in command)
    print(f"   $ {shown}", flush=True)
    actual = [str(BIN / command[0]), *map(str, command[1:])]
    if command[:3] == ("prefect-batch", "job", "stream"):  # its progress bar wants the terminal itself
        subprocess.run(actual, cwd=ROOT, check=True)
        return ""
    done = subprocess.run(actual, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, [shown], done.stdout)
    if not quiet:
        for line in done.stdout.splitlines():
            say(line)
    return done.stdout


def cancel(job: str) -> None:
    """Best effort: else the job would still be waiting for the next worker."""
    with contextlib.suppress(subprocess.SubprocessError):
        command = [str(BIN / "prefect-batch"), "job", "cancel", job]
        subprocess.run(command, capture_output=True, timeout=STOP_SECONDS, start_new_session=True, check=False)


def output_file(details: str) -> Path:
    """The line `output` of `prefect-batch job show`."""
    found = re.search(r"^output +(.+)$", details, re.MULTILINE)
    if found is None:
        raise subprocess.CalledProcessError(0, ["prefect-batch", "job", "show"], details)
    return Path(found[1])


def title(number: int, text: str) -> None:
    bold, normal = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{number}. {text}{normal}", flush=True)


def say(text: str) -> None:
    print(f"   {text}", flush=True)


def show(path: Path | str) -> str:
    """A path below the current folder is shown relative to it."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def table(lines: Sequence[str]) -> str:
    cells = [line.split(",") for line in lines]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("     " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)


# ------------------------------------------------------------------------------------------------- server


def start_server(keep: bool) -> dict[str, Any]:
    """Start a server and a worker, and note who they are."""
    from prefect_batch.interfaces.local_server import LocalServer

    stop_server()  # left by a demo that was killed
    with (FOLDER / "server.log").open("ab") as log:
        local = LocalServer(log=log, working_directory=ROOT)
        try:
            local.start()
            processes = [(process.pid, psutil.Process(process.pid).create_time()) for process in local.processes]
            state = {"keep": keep, "api_url": local.api_url, "ui_url": local.ui_url, "processes": processes}
            STATE.write_text(json.dumps(state))
        except BaseException:
            local.stop()
            raise
    return state


def running_server() -> dict[str, Any] | None:
    """The server that an earlier demo was told to keep, if it is still there."""
    try:
        state = json.loads(STATE.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return state if state["keep"] and len(processes_of(state)) == len(state["processes"]) else None


def processes_of(state: dict[str, Any]) -> list[psutil.Process]:
    """Those of the noted processes that still run; a pid that was given to another process is not one."""
    found: list[psutil.Process] = []
    for pid, created in state["processes"]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def stop_server() -> bool:
    """Stop what start_server() noted, the worker first, with all that it started. Whether there was anything."""
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it
    try:
        state = json.loads(STATE.read_text())
        processes = processes_of(state)
        for process in reversed(processes):
            family = [process, *descendants(process)]
            process.terminate()
            psutil.wait_procs([process], timeout=STOP_SECONDS)
            _, left = psutil.wait_procs(family, timeout=1)
            for straggler in left:
                for one in (*descendants(straggler), straggler):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()
            psutil.wait_procs(left, timeout=STOP_SECONDS)
        STATE.unlink()
        return bool(processes)
    except (FileNotFoundError, ValueError):
        return False
    finally:
        signal.signal(signal.SIGINT, interrupt)


def descendants(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


if __name__ == "__main__":
    sys.exit(main())
