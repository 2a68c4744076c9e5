"""Staging many small files from S3, against reading them one by one. `python staging.py FILES REPEAT`

The S3 server is moto's, on this machine; a proxy adds a latency to each request.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring
from bench import HERE, Bench, Result

from prefect_batch.scoring.storage import Folder

FILES, LEAST_FILES, BYTES = 1000, 50, 1024
LATENCY_SECONDS, LIMIT = 0.03, 16
ROOT = HERE.parent


def measure(bench: Bench) -> Result:
    """Seconds of each way, in turn. Measured in the environment of the tests, whose S3 server it is."""
    count = bench.scaled(FILES, LEAST_FILES)
    command = [ROOT / ".venv" / "bin" / "python", __file__, str(count), str(bench.repeat)]
    env = bench.ours.env | {"PYTHONPATH": str(ROOT / "tests")}
    _, told = measuring.run(command, env, bench.work)
    found = json.loads(told.splitlines()[-1])
    for way, runs in found.items():
        bench.say(f"{count} files {way}: {measuring.median(run['wall'] for run in runs):.2f} s")
    return found


def main(count: int, repeat: int) -> None:
    import storage_servers

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        with (
            storage_servers.s3_server(work) as url,
            storage_servers.proxy_server(url, LATENCY_SECONDS, work) as slow_url,
        ):
            bucket = storage_servers.new_bucket(url)
            names = [f"file-{number:05d}.txt" for number in range(count)]
            contents = {f"{bucket.bucket}/{name}": name.encode().ljust(BYTES) for name in names}
            bucket.fs.pipe(contents, batch_size=16)
            print(json.dumps(_rounds(bucket.through(slow_url), names, work, repeat)))


def _rounds(bucket: Any, names: list[str], work: Path, repeat: int) -> Result:
    fs, folder = bucket.fs, Folder(bucket.url, bucket.options, bucket.secrets)

    def read() -> None:
        for name in names:
            # One request a file. By default s3fs asks for the size first, and takes twice as long.
            fs.cat_file(f"{bucket.bucket}/{name}", max_concurrency=1)

    def stage(targets: list[Path]) -> None:
        failed = [error for error in folder.fetch(names, targets, LIMIT) if error is not None]
        if failed:
            raise failed[0]

    fs.cat_file(f"{bucket.bucket}/{names[0]}")
    folder.read(names[0])
    found: Result = {"one by one": [], "staged": []}
    for number in range(repeat):
        targets = [work / f"round-{number}" / name for name in names]
        found["one by one"].append({"wall": _seconds(read)})
        found["staged"].append({"wall": _seconds(lambda targets=targets: stage(targets))})
        if not all(path.read_bytes().startswith(path.name.encode()) for path in targets):
            raise measuring.BenchmarkFailed("a staged file does not hold what was written")
    return found


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
