"""Scripts that hold more memory than they may, or return more than anybody can."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prefect_batch.scoring import process as scoring_process
from prefect_batch.scoring.contract import ScoringSpec
from prefect_batch.scoring.errors import InitFailed, MiniBatchFailed, ProcessDied
from prefect_batch.scoring.items import LocalItem
from prefect_batch.scoring.supervisor import ScoringProcess

MIB = 2**20
HOLD = f"b'x' * {1024 * MIB}"
LIMIT = 768 * MIB

Script = Callable[..., ScoringSpec]
Make = Callable[..., ScoringProcess]


def run(process: ScoringProcess, name: str) -> bytes:
    return process.run([LocalItem(f"/data/{name}", name, name)], timeout=60, final=True).chunk.data


def held(error: Exception) -> int:
    """Bytes, as the message has them."""
    (told,) = re.findall(r"held (\d+) MiB", str(error))
    return int(told) * MIB


def test_a_run_that_holds_more_than_it_may_is_ended_and_the_next_one_works(script: Script, process: Make) -> None:
    text = f"import time\n\ndef run(paths):\n    held = {HOLD} if 'big' in paths[0] else b''\n"
    text += "    time.sleep(60 if held else 0)\n    return paths\n"
    one = process(script(text), memory_limit=LIMIT)
    with pytest.raises(
        ProcessDied, match=r"^run\(\) held \d+ MiB, more than memory_limit, and was stopped: lower"
    ) as died:
        run(one, "big")
    assert held(died.value) >= LIMIT
    assert died.value.error_type == "MemoryLimit"
    assert run(one, "small") == b"/data/small\n"


def test_an_init_that_holds_more_than_it_may(script: Script, process: Make) -> None:
    text = f"import time\n\ndef init():\n    held = {HOLD}\n    time.sleep(60)\n\ndef run(paths):\n    return paths\n"
    with pytest.raises(
        InitFailed, match=r"^init\(\) held \d+ MiB, more than memory_limit, .*raise memory_limit$"
    ) as failed:
        process(script(text), memory_limit=LIMIT).start()
    assert held(failed.value) >= LIMIT


def test_a_result_that_is_too_large_fails_its_mini_batch_only(script: Script, process: Make) -> None:
    """A row of 10 MB many times over: encoded, it is more than the limit."""
    rows = scoring_process.MOST_BYTES // (10 * MIB) + 1
    one = process(script(f"def run(paths):\n    return ['x' * {10 * MIB}] * ({rows} if 'big' in paths[0] else 1)\n"))
    with pytest.raises(MiniBatchFailed, match="more than the 1024 MiB that one mini-batch may return") as failed:
        run(one, "big")
    assert failed.value.error_type == "ResultTooLarge"
    assert len(run(one, "small")) == 10 * MIB + 1


@pytest.mark.skipif(sys.platform != "linux", reason="the file is Linux's")
def test_it_is_the_first_to_go_when_memory_runs_out(script: Script, process: Make) -> None:
    one = process(script("def run(paths):\n    return paths\n"))
    one.start()
    assert int(Path(f"/proc/{one.pid}/oom_score_adj").read_text()) >= 500
