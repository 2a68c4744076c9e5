"""A clock that jumps, for all processes of a world at once, as when a machine wakes up or is set right."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cases import check, deploy, files, ready_world, some, trial
from .world import World

SOURCE = Path(__file__).with_name("clock.c")
JUMPS = {"an hour ahead": 3600, "a day ahead": 86400, "half a minute back": -30}
"""Seconds. Back by little only: Dask measures by the wall clock when it may send the next messages, so that a job may
stand still for as long as the clock went back."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clock.c, compiled; skips where there is no compiler and none can be installed."""
    made = tmp_path_factory.mktemp("clock") / "clock.so"
    for attempt in range(2):
        for compiler in ("cc", "tcc"):
            if shutil.which(compiler):
                subprocess.run([compiler, "-shared", "-fPIC", "-o", str(made), str(SOURCE)], check=True)
                return made
        if attempt == 0 and os.geteuid() == 0:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                command = ["apt-get", "install", "-y", "--no-install-recommends", "tcc", "libc6-dev"]
                subprocess.run(command, capture_output=True, timeout=300, check=False)
    pytest.skip("there is no C compiler here, and apt-get cannot install one")


class Clock:
    """How far the world's clock is off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jump(0)

    def jump(self, seconds: int) -> None:
        with self.path.open("r+b" if self.path.exists() else "wb") as stream:
            stream.write(struct.pack("l", seconds))


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock") / "offset")


@pytest.fixture(scope="module")
def own_world(library: Path, clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(clock.path)}
    with ready_world(tmp_path_factory.mktemp("world"), environment) as world:
        yield world


@pytest.mark.parametrize("jump", some(JUMPS, "an hour ahead", "half a minute back"))
def test_the_clock_jumps(own_world: World, clock: Clock, jump: str) -> None:
    world = own_world
    endpoint = deploy(world, f"clock-{jump.replace(' ', '-')}")
    with trial(world, "Clock", f"the clock jumps {jump} in mid-job") as found:
        job = world.invoke(endpoint, files(world))
        world.until(job, "some parts", lambda _: world.parts(job) > 3 or None)
        clock.jump(JUMPS[jump])
        try:
            check(world, job, found)
        finally:
            clock.jump(0)
