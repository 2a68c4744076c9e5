"""Scoring scripts that do what they should not: their own mini-batches fail, and nobody else's."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from .cases import NAMES, files, trial
from .world import World

SCRIPTS = {
    "closes its standard streams": "os.close(0); os.close(1); os.close(2)",
    "closes all file descriptors": "os.closerange(0, 4096)",
    "writes a million lines": "for n in range(1_000_000): print('line', n)",
    "writes ten megabytes without a newline": "print('x' * 10_000_000, end='', flush=True)",
    "leaves a child that outlives it": """
        import subprocess
        subprocess.Popen(["sleep", "3600"])
        """,
    "forks": """
        if os.fork() == 0:
            time.sleep(3602)
        """,
    "leaks memory": """
        held = [b"x" * 2**20 for _ in range(3000)]
        time.sleep(600)
        """,
    "changes its folder and its variables": "os.chdir('/'); os.environ.clear(); sys.path.clear()",
    "calls sys.exit(0)": "sys.exit(0)",
    "calls sys.exit('why')": "sys.exit('why')",
    "calls os._exit(3)": "os._exit(3)",
    "raises SystemExit": "raise SystemExit",
    "raises KeyboardInterrupt": "raise KeyboardInterrupt",
    "raises BaseException": "raise BaseException('base')",
    "raises what cannot be pickled": """
        class Odd(Exception):
            def __init__(self):
                self.held = lambda: None
            def __reduce__(self):
                raise TypeError("no pickle of me")
        raise Odd
        """,
    "raises what cannot even be shown": """
        class Shy(Exception):
            def __str__(self):
                raise RuntimeError("no text of me")
            __repr__ = __str__
        raise Shy
        """,
    "raises with a message of ten megabytes": "raise ValueError('x' * 10_000_000)",
    "recurses without an end": """
        def again(n):
            return again(n + 1) + 1
        again(0)
        """,
    "returns a generator": "return (Path(p).name for p in mini_batch)",
    "returns ten gigabytes": "return ['x' * 10_000_000] * 1000",
    "returns what has no end": """
        import itertools
        return itertools.count()
        """,
    "returns None": "return None",
    "returns itself": "import builtins; return builtins",
    "kills itself": "import signal; os.kill(os.getpid(), signal.SIGKILL)",
    "stops itself": "import signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "ignores SIGTERM and sleeps": """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        """,
    "replaces its streams": "sys.stdout = sys.stderr = None; print('gone')",
    "breaks json, pickle and os.write": """
        import json, pickle
        json.dumps = pickle.dumps = None
        """,
    "sets a timer and a trace": """
        import signal, threading
        sys.settrace(lambda *_: None)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(1)
        """,
    "takes all file descriptors": "held = [os.open('/dev/null', os.O_RDONLY) for _ in range(100_000)]",
    "starts a thousand threads": """
        import threading
        for _ in range(1000):
            threading.Thread(target=time.sleep, args=(3603,)).start()
        """,
    "fills its own folder": "Path('filler').write_bytes(bytes(200 * 2**20))",
    "warns a hundred thousand times": """
        import warnings
        for n in range(100_000):
            warnings.warn(f"again {n}")
        """,
}


HARMLESS = {
    "closes its standard streams",
    "writes a million lines",
    "writes ten megabytes without a newline",
    "leaves a child that outlives it",
    "forks",
    "changes its folder and its variables",
    "replaces its streams",
    "starts a thousand threads",
    "fills its own folder",
    "warns a hundred thousand times",
}
"""After which a mini-batch has its result all the same, in a process that no other has spoilt before."""
BY_FILE = {f"bad-{number:02d}.txt": what for number, what in enumerate(SCRIPTS)}


@pytest.fixture(scope="module")
def endpoint(world: World) -> str:
    """An endpoint whose script does what a file says in Python, unless it is one of the good ones."""
    run = """
    path = Path(mini_batch[0])
    if path.name.startswith("bad-"):
        scope = dict(globals())
        exec(path.read_text(), scope)
        return scope["misbehave"](mini_batch)
    return [path.name]
    """
    settings = {"mini_batch_size": 1, "max_concurrency_per_instance": 2, "memory_limit": "1 GiB"}
    settings["retry_settings"] = "{max_retries: 2, timeout: 10}"
    world.deploy_script("hostile", run, **settings)
    return "hostile"


def test_hostile_scripts(world: World, endpoint: str, tmp_path: Path, few: range) -> None:
    """All of them in one job, among good ones."""
    shutil.copytree(files(world), tmp_path, dirs_exist_ok=True)
    for name, what in BY_FILE.items():
        body = textwrap.indent(textwrap.dedent(SCRIPTS[what]).strip(), "    ")
        (tmp_path / name).write_text(
            f"def misbehave(mini_batch):\n{body}\n    return [Path(p).name for p in mini_batch]\n"
        )
    for seed in few:
        with trial(world, "Scripts", f"{len(SCRIPTS)} hostile mini-batches in one job", seed) as found:
            ended = world.wait(world.invoke(endpoint, tmp_path))
            assert ended.state == "Completed", ended.message
            rows = Counter(ended.predictions.decode().splitlines()[1:])
            found.lost = sum(1 for name in NAMES if not rows[name])
            found.doubled = sum(count - 1 for count in rows.values() if count > 1)
            assert (found.lost, found.doubled) == (0, 0)
            errors = {error["item"]: error for error in ended.errors}
            assert {BY_FILE[name] for name in errors} >= set(SCRIPTS) - HARMLESS
            assert set(rows) | set(errors) == {*NAMES, *BY_FILE} and not set(rows) & set(errors)
            for name, error in errors.items():
                assert error["message"].strip() and "\n" not in error["message"], (BY_FILE[name], error)
                assert len(json.dumps(error)) < 100_000, BY_FILE[name]
