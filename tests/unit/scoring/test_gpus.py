"""The GPUs of an instance, and which of its scoring processes gets which."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefect_batch.scoring.contract import ScoringSpec
from prefect_batch.scoring.errors import ProcessDied
from prefect_batch.scoring.gpus import VISIBLE, Gpus
from prefect_batch.scoring.items import LocalItem
from prefect_batch.scoring.slots import Slots
from prefect_batch.scoring.storage import Folder

Script = Callable[..., ScoringSpec]
SEEN = "import os\n\ndef run(mini_batch):\n    return [os.environ.get('CUDA_VISIBLE_DEVICES', 'untouched')]\n"
ITEMS = [LocalItem("/a", "a", "a")]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One on which nobody else holds GPUs."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def test_the_first_of_those_that_are_to_be_seen():
    assert Gpus(2, environ={VISIBLE: "4, 5,6"}).names == ["4", "5"]
    assert Gpus(2, environ={VISIBLE: "GPU-8f6b"}).names == ["GPU-8f6b"]
    assert Gpus(2, environ={VISIBLE: ""}).names == []
    assert Gpus(2, environ={VISIBLE: "-1"}).names == []
    assert Gpus(3, environ={}).names in (["0", "1", "2"], ["0", "1"], ["0"])


def test_process_k_gets_the_kth_and_those_beyond_none():
    gpus = Gpus(2, environ={VISIBLE: "4,5,6"})
    assert [gpus.environment(k)[VISIBLE] for k in range(4)] == ["4", "5", "", ""]


def test_without_gpus_the_variable_is_left_as_it_is():
    assert Gpus(0, shared=True, environ={VISIBLE: "4,5"}).environment(0) == {}


def test_instances_of_one_machine_share_no_gpu():
    environ = {VISIBLE: "0,1,2,3,4"}
    first, second, third = (Gpus(2, True, environ) for _ in range(3))
    assert [gpus.names for gpus in (first, second, third)] == [["0", "1"], ["2", "3"], ["4"]]
    first.release()
    again = Gpus(2, True, environ)
    assert again.names == ["0", "1"]
    for gpus in (second, third, again):
        gpus.release()


def test_what_takes_the_place_of_a_lost_instance_finds_its_gpus():
    hold = "from prefect_batch.scoring.gpus import Gpus; g = Gpus(2, True); print(*g.names, flush=True); input()"
    environ = os.environ | {VISIBLE: "0,1,2,3", "TMPDIR": tempfile.gettempdir()}
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True, env=environ) as lost:
        assert lost.stdout is not None
        assert lost.stdout.readline() == "0 1\n"
        other = Gpus(2, True, {VISIBLE: "0,1,2,3"})
        lost.kill()
    replacement = Gpus(2, True, {VISIBLE: "0,1,2,3"})
    assert (other.names, replacement.names) == (["2", "3"], ["0", "1"])
    other.release()
    replacement.release()


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Callable[..., Slots]]:
    made: list[Slots] = []

    def make(spec: ScoringSpec, gpus: Gpus | None) -> Slots:
        made.append(Slots(Folder(str(tmp_path / "job")), spec, 60, gpus=gpus))
        return made[-1]

    yield make
    for one in made:
        one.release(at_once=True)


def test_a_killed_process_is_replaced_by_one_with_its_gpu(script: Script, slots: Callable[..., Slots]):
    held = slots(script(SEEN), Gpus(2, environ={VISIBLE: "4,5"}))
    with held.slot(None) as one, held.slot(None) as two, held.slot(None) as three:
        processes = (one, two, three)
        seen = [process.run(ITEMS, 60, True).chunk.data for process in processes]
        assert [data.strip() for data in seen] == [b"4", b"5", b'""']
        before = two.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        try:
            again = two.run(ITEMS, 60, True)
        except ProcessDied:  # it had not ended when it was asked
            again = two.run(ITEMS, 60, True)
        assert again.chunk.data.strip() == b"5"
        assert two.pid != before


def test_what_the_deployment_says_itself_stays(script: Script, slots: Callable[..., Slots]):
    spec = script(SEEN)
    spec.environment_variables = {VISIBLE: "7"}
    with slots(spec, Gpus(2, environ={VISIBLE: "4,5"})).slot(None) as process:
        assert process.run(ITEMS, 60, True).chunk.data.strip() == b"7"


def test_locks_go_with_the_processes(script: Script, slots: Callable[..., Slots]):
    environ = {VISIBLE: "0"}
    held = slots(script(SEEN), Gpus(1, True, environ))
    assert Gpus(1, True, environ).names == []
    held.release()
    last = Gpus(1, True, environ)
    assert last.names == ["0"]
    last.release()
