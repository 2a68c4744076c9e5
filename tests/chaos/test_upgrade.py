"""What earlier versions have stored is read, shown, called and resumed by this one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from prefect_batch.blocks import store
from prefect_batch.blocks.component import Component
from prefect_batch.blocks.compute import ComputeCluster
from prefect_batch.blocks.data_asset import DataAsset
from prefect_batch.blocks.datastore import Datastore
from prefect_batch.blocks.endpoint import BatchEndpoint
from prefect_batch.blocks.environment import Environment
from prefect_batch.blocks.model_deployment import ModelDeployment
from prefect_batch.blocks.pipeline_deployment import PipelineDeployment
from prefect_batch.flows import jobs

from .stored import STORED, restore
from .world import World

KINDS: list[Any] = [
    BatchEndpoint,
    Component,
    ComputeCluster,
    DataAsset,
    Datastore,
    Environment,
    ModelDeployment,
    PipelineDeployment,
]
FILES = [f"item-{number}.txt" for number in range(6)]


@pytest.mark.parametrize("path", sorted(STORED.glob("*.json")), ids=lambda path: path.stem)
def test_what_a_version_has_stored(path: Path, tmp_path: Path) -> None:
    stored = json.loads(path.read_text())
    with World(tmp_path).running() as world:
        root, job = restore(world, stored)
        held = Counter(block["type"]["slug"] for block in stored["blocks"])
        with get_client(sync_client=True) as client:
            read = {kind.get_block_type_slug(): len(store.list_all(kind, client)) for kind in KINDS}
            assert read == {slug: held[slug] for slug in read}
            assert store.load(Datastore, "lake", client).model_dump_json().count("planted-secret") == 0
            jobs.resume(client, client.read_flow_run(job))
        resumed = world.wait(job)
        assert (resumed.state, resumed.summary["failed"]) == ("Completed", 0), resumed.message
        assert resumed.predictions.decode().splitlines()[1:] == FILES
        called = world.wait(world.invoke("stored", root / "data"))
        assert (called.state, called.predictions) == ("Completed", resumed.predictions), called.message
        piped = world.wait(world.start("diamond"))
        assert piped.state == "Completed", piped.message
