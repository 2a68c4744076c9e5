"""Staging many small files from S3, against reading them one by one.

    python benchmarks/staging.py [--files 1000] [--latency 30] [--repeat 3]

The S3 server is moto's, on this machine; a proxy adds the latency to each request. Both ways are measured in turn in
each round, and the medians are compared. Goal: staging is 10 times as fast or more.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

import storage_servers  # noqa: E402
from machine import describe  # noqa: E402

from prefect_batch.scoring.storage import Folder  # noqa: E402

GOAL = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="bytes of each (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=30.0, help="ms added to a request (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=16, help="files at once when staging (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (default: %(default)s)")
    given = parser.parse_args()
    print(describe("fsspec", "s3fs", "aiobotocore", "moto"))
    print(f"{given.files} files of {given.size} bytes, {given.latency:g} ms added to each request, limit {given.limit}")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        with (
            storage_servers.s3_server(work) as url,
            storage_servers.proxy_server(url, given.latency / 1000, work) as slow_url,
        ):
            bucket = storage_servers.new_bucket(url)
            names = fill(bucket, given.files, given.size)
            one_by_one, staged = measure(bucket.through(slow_url), names, work, given.limit, given.repeat)
    report(one_by_one, staged, given.files)
    return 0


def fill(bucket: storage_servers.S3Bucket, count: int, size: int) -> list[str]:
    names = [f"file-{number:05d}.txt" for number in range(count)]
    bucket.fs.pipe({f"{bucket.bucket}/{name}": name.encode().ljust(size) for name in names}, batch_size=16)
    return names


def measure(
    bucket: storage_servers.S3Bucket, names: list[str], work: Path, limit: int, repeat: int
) -> tuple[list[float], list[float]]:
    """Seconds of each round, read one by one and staged."""
    fs: Any = bucket.fs
    folder = Folder(bucket.url, bucket.options, bucket.secrets)

    def read() -> None:
        for name in names:
            # One request a file. By default s3fs asks for the size first, and takes twice as long.
            fs.cat_file(f"{bucket.bucket}/{name}", max_concurrency=1)

    def stage(targets: list[Path]) -> None:
        failed = [error for error in folder.fetch(names, targets, limit) if error is not None]
        if failed:
            raise failed[0]

    fs.cat_file(f"{bucket.bucket}/{names[0]}")
    folder.read(names[0])
    one_by_one: list[float] = []
    staged: list[float] = []
    for number in range(1, repeat + 1):
        targets = [work / f"round-{number}" / name for name in names]
        one_by_one.append(seconds(read))
        staged.append(seconds(lambda targets=targets: stage(targets)))
        print(f"round {number}: one by one {one_by_one[-1]:.2f} s, staged {staged[-1]:.2f} s", flush=True)
        if not all(path.read_bytes().startswith(path.name.encode()) for path in targets):
            raise RuntimeError("a staged file does not hold what was written")
    return one_by_one, staged


def seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def report(one_by_one: list[float], staged: list[float], count: int) -> None:
    print(f"\n{'':12}{'median s':>10}{'min s':>8}{'max s':>8}{'files/s':>9}")
    for title, times in (("one by one", one_by_one), ("staged", staged)):
        median = statistics.median(times)
        print(f"{title:12}{median:10.2f}{min(times):8.2f}{max(times):8.2f}{count / median:9.0f}")
    ratio = statistics.median(one_by_one) / statistics.median(staged)
    print(f"\nStaging is {ratio:.1f} times as fast; goal {GOAL:g} or more: {'met' if ratio >= GOAL else 'missed'}")


if __name__ == "__main__":
    sys.exit(main())
