"""A worker's scoring processes: reuse, isolation of the code folder, release."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prefect_batch.scoring import slots
from prefect_batch.scoring.contract import ScoringSpec
from prefect_batch.scoring.errors import JobReleased, MiniBatchFailed
from prefect_batch.scoring.items import LocalItem
from prefect_batch.scoring.slots import Slots
from prefect_batch.scoring.storage import Folder

Script = Callable[..., ScoringSpec]
ITEMS = [LocalItem("/a", "a", "a")]
ECHO = "def run(mini_batch):\n    return mini_batch\n"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Slots]]:
    made: list[Slots] = []

    def slots_of(spec: ScoringSpec, url: str | None = None, **more: Any) -> Slots:
        made.append(Slots(Folder(url or str(tmp_path / "job")), spec, 60, **more))
        return made[-1]

    yield slots_of
    for one in made:
        one.release(at_once=True)


def test_a_process_is_kept_from_one_mini_batch_to_the_next(script: Script, make: Callable[..., Slots]) -> None:
    held = make(script(ECHO))
    pids: set[int | None] = set()
    for _ in range(3):
        with held.slot(None) as process:
            process.run(ITEMS, 60, True)
            pids.add(process.pid)
    assert len(pids) == 1 and None not in pids


def test_as_many_processes_as_threads_at_once(script: Script, make: Callable[..., Slots]) -> None:
    held, gate = make(script(ECHO)), threading.Barrier(3)

    def use(_: int) -> int:
        with held.slot(None) as process:
            gate.wait(20)
            return id(process)

    with ThreadPoolExecutor(3) as pool:
        first, second = (set(pool.map(use, range(3))) for _ in range(2))
    assert len(first) == 3
    assert first == second


def test_each_process_has_a_code_folder_of_its_own(script: Script, make: Callable[..., Slots], scratch: Path) -> None:
    spec = script(
        "import os\n\ndef run(mini_batch):\n    open(mini_batch[0], 'x').close()\n    return [os.getcwd()]\n",
    )
    held = make(spec)
    with held.slot(None) as one, held.slot(None) as two:
        folders = {p.run([LocalItem("made.txt", "x", "x")], 60, True).chunk.data.decode().strip() for p in (one, two)}
    assert len(folders) == 2
    assert all(Path(folder).is_relative_to(scratch) for folder in folders)
    assert not (Path(spec.code_dir or "") / "made.txt").exists()


def test_logs_lie_in_the_jobs_folder(script: Script, make: Callable[..., Slots], tmp_path: Path) -> None:
    held = make(script("def run(m):\n    print('said')\n    return m\n"))
    with held.slot(None) as process:
        process.run(ITEMS, 60, True)
    held.release()
    (log,) = (tmp_path / "job" / "logs").glob("*/*.log")
    assert log.name == "process000.log"
    assert log.parent.name == f"{socket.gethostname()}-{os.getpid()}"
    assert "said\n" in log.read_text()


def test_logs_are_uploaded_to_a_job_folder_elsewhere(
    script: Script, make: Callable[..., Slots], tmp_path: Path
) -> None:
    url = f"memory://{tmp_path.name}"
    held = make(script("def run(m):\n    print('said')\n    return m\n"), url)
    with held.slot(None) as process:
        process.run(ITEMS, 60, True)
    held.release()
    (name,) = Folder(url).files()
    assert b"said\n" in Folder(url).read(name)


def test_the_sink_of_a_slot_hears_also_what_comes_behind_the_result(
    script: Script, make: Callable[..., Slots], eventually: Callable[..., Any]
) -> None:
    held = make(script("def run(m):\n    print('line of', m[0], flush=True)\n    return m\n"))
    heard: list[str] = []
    for number in range(20):
        with held.slot(lambda level, line: heard.append(line)) as process:
            process.run([LocalItem(str(number), "a", "a")], 60, True)
    eventually(lambda: len(heard) == 20)
    assert heard == [f"line of {number}" for number in range(20)]


@pytest.mark.parametrize("at_once", [True, False])
def test_release_ends_processes_and_removes_the_scratch_folder(
    script: Script, make: Callable[..., Slots], scratch: Path, gone: Callable[[int], bool], at_once: bool
) -> None:
    held = make(script(ECHO))
    with held.slot(None) as one, held.slot(None) as two:
        one.start()
        two.start()
        pids = [one.pid, two.pid]
    held.release(at_once)
    assert all(pid is not None and gone(pid) for pid in pids)
    assert list(scratch.iterdir()) == []
    with pytest.raises(JobReleased), held.slot(None):
        pass
    held.release()


def test_release_ends_a_run_that_is_under_way(
    script: Script, make: Callable[..., Slots], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    mark = tmp_path / "running"
    held = make(script(f"import time\n\ndef run(m):\n    open({str(mark)!r}, 'w').close()\n    time.sleep(600)\n"))

    def use() -> None:
        with held.slot(None) as process:
            process.run(ITEMS, 600, True)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(use)
        eventually(mark.exists)
        held.release(at_once=True)
        with pytest.raises(JobReleased):
            future.result(20)


def test_a_worker_has_one_set_of_slots_a_job(script: Script, make: Callable[..., Slots]) -> None:
    made: list[Slots] = []

    def new() -> Slots:
        made.append(make(script(ECHO)))
        return made[-1]

    first = slots.of_job("/jobs/1", new)
    assert slots.of_job("/jobs/1", new) is first
    assert slots.of_job("/jobs/2", new) is not first
    slots.release("/jobs/1")
    slots.release("/jobs/2", at_once=True)
    slots.release("/jobs/2")
    assert len(made) == 2
    with pytest.raises(JobReleased), first.slot(None):
        pass


WRITER = """
import os
from pathlib import Path

OUT = Path(os.environ["AZUREML_BI_OUTPUT_PATH"])


def init():
    (OUT / "sub folder").mkdir()


def run(mini_batch):
    for name in mini_batch:
        (OUT / "sub folder" / name).write_text(name)
    if "bad" in mini_batch:
        raise ValueError
    return [str(OUT)]
"""


def named(*names: str) -> list[LocalItem]:
    return [LocalItem(name, name, name) for name in names]


def test_what_a_script_writes_is_published_to_a_remote_output(
    script: Script, make: Callable[..., Slots], tmp_path: Path, scratch: Path
) -> None:
    output = Folder(f"memory://{tmp_path.name}/out")
    held = make(script(WRITER), output=output)
    with held.slot(None) as process:
        result = process.run(named("a", "ü #1%"), 60, True)
        assert output.files() == []
        held.publish(process)
        assert output.files() == ["sub folder/a", "sub folder/ü #1%"]
        assert output.read("sub folder/a") == b"a"
        folder = Path(result.chunk.data.decode().strip())
        assert folder.is_relative_to(scratch)
        assert [path for path in folder.rglob("*") if path.is_file()] == []
        process.run(named("b", "a"), 60, True)
        held.publish(process)
        assert output.files() == ["sub folder/a", "sub folder/b", "sub folder/ü #1%"]


def test_what_a_failed_run_wrote_is_not_published(script: Script, make: Callable[..., Slots], tmp_path: Path) -> None:
    output = Folder(f"memory://{tmp_path.name}/out")
    held = make(script(WRITER), output=output)
    with held.slot(None) as process:
        with pytest.raises(MiniBatchFailed):
            process.run(named("half", "bad"), 60, True)
        held.discard(process)
        process.run(named("good"), 60, True)
        held.publish(process)
    assert output.files() == ["sub folder/good"]


def test_processes_have_remote_output_folders_of_their_own(
    script: Script, make: Callable[..., Slots], tmp_path: Path
) -> None:
    output = Folder(f"memory://{tmp_path.name}/out")
    held = make(script(WRITER), output=output)
    with held.slot(None) as one, held.slot(None) as two:
        one.run(named("one"), 60, True)
        two.run(named("two"), 60, True)
        held.publish(one)
        assert output.files() == ["sub folder/one"]
        held.publish(two)
    assert output.files() == ["sub folder/one", "sub folder/two"]


def test_publishing_that_fails_is_a_failed_attempt(
    script: Script, make: Callable[..., Slots], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("403")

    output = Folder(f"memory://{tmp_path.name}/out")
    held = make(script(WRITER), output=output)
    monkeypatch.setattr(Folder, "upload", refused)
    with held.slot(None) as process:
        process.run(named("a"), 60, True)
        with pytest.raises(
            MiniBatchFailed, match=r"^what run\(\) wrote could not be copied to memory://.*: 403"
        ) as info:
            held.publish(process)
        assert info.value.error_type == "PermissionError"
        held.discard(process)
        held.publish(process)  # nothing is left that could fail


def test_a_local_output_is_written_to_directly(script: Script, make: Callable[..., Slots], tmp_path: Path) -> None:
    output = Folder(str(tmp_path / "out")).make()
    held = make(dataclasses.replace(script(WRITER), output_dir=output.path), output=output)
    with held.slot(None) as process:
        process.run(named("a"), 60, True)
        assert output.files() == ["sub folder/a"]
        held.publish(process)
        held.discard(process)
    assert output.files() == ["sub folder/a"]


def test_no_more_processes_than_the_capacity(script: Script, make: Callable[..., Slots]) -> None:
    held = make(script(ECHO), capacity=2)
    lock, seen, now, most = threading.Lock(), set[int](), 0, 0

    def use(_: int) -> None:
        nonlocal now, most
        with held.slot(None) as process:
            with lock:
                now, most = now + 1, max(most, now + 1)
                seen.add(id(process))
            process.run(ITEMS, 60, True)
            with lock:
                now -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(40)))
    assert most <= 2
    assert len(seen) <= 2


def test_a_freed_process_goes_to_who_waited_longest(
    script: Script, make: Callable[..., Slots], eventually: Callable[..., Any]
) -> None:
    held, order = make(script(ECHO), capacity=1), list[int]()

    def use(number: int) -> None:
        with held.slot(None):
            order.append(number)

    with ThreadPoolExecutor(5) as pool, held.slot(None):
        for number in range(5):
            pool.submit(use, number)
            eventually(lambda: len(held._waiting) == number + 1)  # noqa: B023
    assert order == [0, 1, 2, 3, 4]


def test_who_waits_is_told_of_a_release(
    script: Script, make: Callable[..., Slots], eventually: Callable[..., Any]
) -> None:
    held = make(script(ECHO), capacity=1)

    def use() -> None:
        with held.slot(None):
            pass

    with ThreadPoolExecutor(3) as pool, held.slot(None):
        waiting = [pool.submit(use) for _ in range(3)]
        eventually(lambda: len(held._waiting) == 3)
        held.release(at_once=True)
        for future in waiting:
            with pytest.raises(JobReleased):
                future.result(20)


def test_node_names_the_worker(script: Script, make: Callable[..., Slots]) -> None:
    assert re.fullmatch(rf".+-{os.getpid()}", make(script(ECHO)).node)


def test_abandoned_slots_are_released(
    script: Script, make: Callable[..., Slots], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed flow lets nothing go: on a worker that outlives it, idle processes end by themselves."""
    monkeypatch.setattr(slots, "ABANDONED_SECONDS", 0.2)
    held = slots.of_job("abandoned", lambda: make(script(ECHO)))
    with held.slot(None) as process:
        process.run(ITEMS, 60, True)
        assert not held.ended.wait(0.5), "released while in use"
        assert process.pid is not None
    assert held.ended.wait(30)
    with pytest.raises(JobReleased), held.slot(None):
        pass
    again = slots.of_job("abandoned", lambda: make(script(ECHO)))
    assert again is not held
    slots.release("abandoned", at_once=True)
