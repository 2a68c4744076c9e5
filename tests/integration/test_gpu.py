"""A job on instances with GPUs: which of them each scoring process sees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from endpoints import Endpoints
from prefect.client.orchestration import SyncPrefectClient

from prefect_batch.blocks.compute import parse_compute, save_compute

INSTANCES, PROCESSES, GPUS = 2, 3, 2

# Each process takes one file and waits for the others; one of those with a GPU then dies once, and its file is left to
# the process that replaces it.
SEEN = """
together = Path({folder!r})
gpu = os.environ["CUDA_VISIBLE_DEVICES"]
(together / Path(mini_batch[0]).name).touch()
deadline = time.monotonic() + 120
while len(list(together.glob("item-*"))) < {count}:
    assert time.monotonic() < deadline, "the others never came"
    time.sleep(0.05)
if gpu == "5":
    try:
        (together / "killed").open("x").write(str(os.getpid()))
        os.kill(os.getpid(), 9)
    except FileExistsError:
        pass
return [f"{{worker_pid()}} {{os.getpid()}} {{gpu}}"]
"""


def test_each_process_has_a_gpu_of_its_own_and_its_replacement_too(
    endpoints: Endpoints,
    client: SyncPrefectClient,
    numbered_files: Callable[[int], Path],
    script_deployment: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    together = tmp_path / "together"
    together.mkdir()
    count = INSTANCES * PROCESSES
    keys = {"name": "gpu-test", "type": "local", "gpus_per_instance": GPUS, "idle_time_before_scale_down": 0}
    save_compute(client, parse_compute(keys, "gpu-test"))
    path = script_deployment(
        SEEN.format(folder=str(together), count=count),
        endpoint="gpu-test",
        compute="gpu-test",
        mini_batch_size=1,
        instance_count=INSTANCES,
        max_concurrency_per_instance=PROCESSES,
        retry_settings="{timeout: 200}",
    )
    endpoints.deploy(path, "gpu-test")
    ended = endpoints.run("gpu-test", numbered_files(count))
    assert ended.state == "Completed", ended.message
    of_instance: dict[str, list[str]] = defaultdict(list)
    pids: dict[str, str] = {}
    for line in ended.predictions.decode().splitlines()[1:]:
        instance, pid, *gpu = line.strip('"').split(" ")
        of_instance[instance].append(gpu[0])
        pids[gpu[0]] = pid
    assert sorted(sorted(seen) for seen in of_instance.values()) == [["", "4", "5"], ["", "6", "7"]]
    assert pids["5"] != (together / "killed").read_text()
