"""Storage that answers late, wrongly or not at all: of the input, of the parts and of the output."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from endpoints import Ended
from prefect.client.orchestration import get_client
from proxy import Proxy
from storage_servers import S3_KEY, S3_SECRET, S3Bucket, new_bucket

from prefect_batch.blocks.datastore import POINTER, create_datastore, set_default
from prefect_batch.blocks.datastore_file import parse_datastore

from .cases import LONG, NAMES, check, deploy, some, trial
from .world import World

STALL = 30.0 if LONG else 3.0
FAULTS = {
    "each 5th request is answered 503": {"failed": 5},
    "each 5th request is answered 500": {"broken": 5},
    "the connection of each 6th request is reset": {"reset": 6},
    "each 4th body ends short of its length": {"cut": 4},
    "each 4th body is half of the file, and says so": {"shortened": 4},
    f"each 50th request stalls for {STALL:g} s": {"stalled": 50},
    "all of these in turn": {"failed": 11, "broken": 13, "reset": 17, "cut": 7, "shortened": 19},
}
"""What goes wrong, by the proxy's names of it."""
SHORT = ("the connection of each 6th request is reset", "all of these in turn")


@pytest.fixture(scope="module")
def endpoint(world: World) -> str:
    return deploy(world, "far")


@pytest.fixture
def bucket(s3_server: str) -> S3Bucket:
    made = new_bucket(s3_server)
    for name in NAMES:
        made.fs.pipe_file(f"{made.bucket}/in/{name}", name.encode())
    return made


class Lake:
    """A datastore that is a bucket behind a proxy, and the server's default one."""

    def __init__(self, bucket: S3Bucket, proxy: Proxy) -> None:
        self.bucket, self.proxy, self.name = bucket, proxy, f"lake-{uuid4().hex[:8]}"

    @contextlib.contextmanager
    def default(self) -> Iterator[None]:
        keys = {"access_key_id": S3_KEY, "secret_access_key": S3_SECRET}
        document = {"name": self.name, "type": "s3", "bucket": self.bucket.bucket, "credentials": keys}
        document["endpoint_url"] = self.proxy.url
        with get_client(sync_client=True) as client:
            create_datastore(client, parse_datastore(document, "a test", Path("/")))
            set_default(client, self.name)
            try:
                yield
            finally:
                client.delete_variable_by_name(POINTER)

    def path(self, below: str) -> str:
        return f"azureml://datastores/{self.name}/paths/{below}"

    def output(self, _: Ended) -> dict[str, bytes]:
        self.bucket.fs.invalidate_cache()
        found = self.bucket.fs.find(f"{self.bucket.bucket}/out")
        return {str(path).removeprefix(f"{self.bucket.bucket}/out/"): self.bucket.fs.cat_file(path) for path in found}

    def unfinished(self) -> list[object]:
        return self.bucket.fs.call_s3("list_multipart_uploads", Bucket=self.bucket.bucket).get("Uploads", [])


@pytest.mark.parametrize("fault", some(FAULTS, *SHORT))
def test_faults_of_s3(world: World, endpoint: str, bucket: S3Bucket, few: range, fault: str) -> None:
    for seed in few:
        with Proxy(bucket.endpoint_url, stall_seconds=STALL) as proxy, trial(world, "Storage", fault, seed) as found:
            lake = Lake(bucket, proxy)
            with lake.default():
                proxy.every |= FAULTS[fault]
                outputs = {"score": {"path": lake.path("out/")}}
                job = world.start(endpoint, inputs={"data": lake.path("in/")}, outputs=outputs)
                world.wait(job)
                assert proxy.faults.total() > 0, "nothing went wrong: the test has shown nothing"
                proxy.every = dict.fromkeys(proxy.every, 0)
                check(world, job, found, output=lake.output)
                assert not lake.unfinished()
            bucket.fs.rm(f"{bucket.bucket}/out", recursive=True)


def test_s3_is_away_in_mid_job(world: World, endpoint: str, bucket: S3Bucket) -> None:
    """For longer than anybody tries: no item is to blame, the job fails, says why, and goes on when it is back."""
    with Proxy(bucket.endpoint_url) as proxy, trial(world, "Storage", "S3 is away in mid-job") as found:
        lake = Lake(bucket, proxy)
        with lake.default():
            outputs = {"score": {"path": lake.path("out/")}}
            job = world.start(endpoint, inputs={"data": lake.path("in/")}, outputs=outputs)
            world.until(job, "a scoring process", lambda _: world.processes("scoring process"))
            proxy.every["failed"] = 1
            ended = world.wait(job)
            assert (ended.state, found.resumed) == ("Failed", 0), ended.message
            proxy.every["failed"] = 0
            ended = check(world, job, found, output=lake.output)
            assert found.resumed >= 1
