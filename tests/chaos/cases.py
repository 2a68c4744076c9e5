"""One check for every fault: the undisturbed output, at once or after resuming a job that said why it ended."""

from __future__ import annotations

import collections
import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from uuid import UUID

from endpoints import Ended
from prefect.client.orchestration import get_client

from prefect_batch.flows import jobs

from .leftovers import left_behind, look
from .record import Trial, keep
from .world import SQLITE, World

LONG = "CHAOS_ROUNDS" in os.environ
"""Whether this is `make chaos`, and not one of many tests."""
RESUMPTIONS = 5
FILES = 24
SECONDS_A_FILE = 0.15
HEADER = "prediction"
NAMES = [f"item-{number:05d}.txt" for number in range(FILES)]
EXPECTED = "".join(f"{line}\n" for line in (HEADER, *NAMES)).encode()
"""Of a job on `files()` by an endpoint of `deploy()`."""


def deploy(world: World, endpoint: str, seconds: float = SECONDS_A_FILE, **settings: object) -> str:
    """An endpoint whose script takes so long for each file and tells its name. Returns its name."""
    run = f"time.sleep({seconds} * len(mini_batch))\nreturn [Path(p).name for p in mini_batch]"
    world.deploy_script(endpoint, run, **{"mini_batch_size": 1, "max_concurrency_per_instance": 2} | settings)
    return endpoint


def files(world: World) -> Path:
    """The folder that they all score."""
    folder = world.root / "items"
    if not folder.exists():
        folder.mkdir()
        for name in NAMES:
            (folder / name).write_text(name)
    return folder


@contextlib.contextmanager
def ready_world(folder: Path, environment: Mapping[str, str] | None = None, database: str = SQLITE) -> Generator[World]:
    """A world in which there is all that the first job makes and no other. Arguments are World's."""
    with World(folder, environment, database).running() as world:
        assert world.wait(world.invoke(deploy(world, "first"), files(world))).state == "Completed"
        yield world


def some(names: Iterable[str], *short: str) -> list[str]:
    """All of them in the long form, and only these in the short one."""
    return list(names) if LONG else list(short)


@contextlib.contextmanager
def trial(world: World, kind: str, fault: str, seed: int = 0) -> Generator[Trial]:
    """Whatever happens in the block, the world is as it was before; keeps what became of it."""
    on = "" if world.database == SQLITE else " (PostgreSQL)"
    before, began, found = look(world), time.monotonic(), Trial(fault + on, kind, seed)
    try:
        yield found
        found.left = left_behind(world, before)
        found.passed = not found.left
    finally:
        found.seconds = round(time.monotonic() - began, 1)
        keep(found)
    assert not found.left, f"after {fault!r} (seed {seed}) there is left: {found.left}"


def local_output(ended: Ended) -> dict[str, bytes]:
    """The files of an output that went where outputs go when the call names no place."""
    return {path.name: path.read_bytes() for path in ended.output.iterdir()}


def check(
    world: World,
    job: UUID,
    found: Trial,
    expected: bytes = EXPECTED,
    output: Callable[[Ended], dict[str, bytes]] = local_output,
    mend: Callable[[], object] = lambda: None,
) -> Ended:
    """Wait for a job, resume it while it ends without an output, and compare that; what it ended as.

    Args:
        expected: of its output, which is one file.
        output: reads that.
        mend: called before the job is resumed.
    """
    ended = world.wait(job)
    while ended.state != "Completed":
        assert ended.message or ended.state == "Cancelled", f"job {job} is {ended.state} and does not say why"
        assert found.resumed < RESUMPTIONS, f"job {job} is {ended.state} again and again: {ended.message}"
        found.resumed += 1
        mend()
        with get_client(sync_client=True) as client:
            jobs.resume(client, client.read_flow_run(job))
        ended = world.wait(job)
    files = output(ended)
    rows, wanted = (collections.Counter(text.splitlines()) for text in (files.get("predictions.csv", b""), expected))
    found.lost, found.doubled = (wanted - rows).total(), (rows - wanted).total()
    assert files == {"predictions.csv": expected}, f"{found.lost} rows lost, {found.doubled} doubled in {set(files)}"
    return ended
