"""Files that are not what they seem: each is a counted, explained error or has its rows, and none harms another."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from uuid import UUID

import pandas as pd
import pytest
from endpoints import Ended
from prefect.client.orchestration import get_client

from prefect_batch.flows import catalog, jobs

from . import corpus
from .cases import trial
from .record import Trial
from .world import World

GOOD = 10
SURELY_BAD = {
    "empty.csv",
    "html.csv",
    "xml.csv",
    "no-column.csv",
    "missing-column.csv",
    "utf-32.csv",
    "broken-utf-8.csv",
    "ragged-long.csv",
    "texts.csv",
    "truncated.csv.gz",
    "wrong-checksum.csv.gz",
    "plain.csv.gz",
    "half.parquet",
    "truncated.parquet",
    "csv.parquet",
    "other-columns.parquet",
    "half.jsonl",
    "deep.jsonl",
}
"""Of which no row can be right."""
WITHOUT_ROWS = {
    "zero-rows.parquet",
    "no-columns.parquet",
    "header-only.csv",
    "header-without-newline.csv",
    "empty.jsonl",
}
"""Right, and nothing to score."""
TRACES = ("Traceback (most recent call last)", '  File "')


@pytest.fixture(scope="module")
def tabular(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An endpoint with an MLflow model of the columns a and b."""
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    x = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0, 1.0, 4.0]})
    model = LinearRegression().fit(x, [1.0, 2.0, 3.0])
    folder = tmp_path_factory.mktemp("poisoned")
    mlflow.sklearn.save_model(model, str(folder / "model"), signature=infer_signature(x, model.predict(x)))
    document = {"name": "only", "endpoint_name": "poison-tables", "type": "model", "model": str(folder / "model")}
    document["settings"] = {
        "mini_batch_size": 1,
        "max_concurrency_per_instance": 2,
        "retry_settings": {"max_retries": 1},
    }
    (folder / "deployment.yml").write_text(json.dumps(document))
    world.make("poison-tables")
    with get_client(sync_client=True) as client:
        catalog.create_deployment(client, folder / "deployment.yml", endpoint="poison-tables", set_default=True)
    return "poison-tables"


def good_files(folder: Path) -> list[str]:
    names = [f"good-{number}.csv" for number in range(GOOD)]
    for name in names:
        (folder / name).write_text(corpus.GOOD)
    return names


def rows_by_file(ended: Ended) -> Counter[str]:
    assert ended.state == "Completed", ended.message
    with (ended.output / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return Counter(row["file_name"] for row in csv.DictReader(stream))


def judge(world: World, ended: Ended, good: list[str], rows: Counter[str], found: Trial) -> dict[str, str]:
    """The good files have all their rows, and what failed says why in a line. Returns messages by item."""
    assert ended.state == "Completed", ended.message
    found.lost = sum(corpus.ROWS - rows[name] for name in good)
    assert not found.lost
    messages = {error["item"]: error["message"] for error in ended.errors}
    assert ended.summary["failed"] == len(messages)
    for item, message in messages.items():
        assert message.strip() and "\n" not in message and len(message) < 2000, (item, message)
        assert not any(trace in message for trace in TRACES), (item, message)
        assert not rows[item], f"{item} has rows and an error"
    lines = list[str]()
    with get_client(sync_client=True) as client:
        jobs.follow(client, UUID(ended.id), lambda *_: None, lines.append)
    assert not [line for line in lines if any(trace in line for trace in TRACES)]
    return messages


def test_tables(world: World, tabular: str, tmp_path: Path) -> None:
    for name, data in corpus.tables().items():
        (tmp_path / name).write_bytes(data)
    good = good_files(tmp_path)
    with trial(world, "Poison", f"{len(corpus.tables())} bad tables among good ones, for an MLflow model") as found:
        ended = world.wait(world.invoke(tabular, tmp_path))
        rows = rows_by_file(ended)
        messages = judge(world, ended, good, rows, found)
        assert set(messages) | set(rows) == set(corpus.tables()) - WITHOUT_ROWS | set(good)
        assert set(messages) >= SURELY_BAD, SURELY_BAD - set(messages)


def test_images(world: World, tmp_path: Path) -> None:
    run = """
    from PIL import Image
    return [f"{Path(p).name} {Image.open(p).convert('RGB').getpixel((0, 0))}" for p in mini_batch]
    """
    world.deploy_script(
        "poison-images", run, mini_batch_size=1, memory_limit="2 GiB", retry_settings="{max_retries: 1}"
    )
    for name, data in corpus.images().items():
        (tmp_path / name).write_bytes(data)
    from PIL import Image

    good = [f"good-{number}.png" for number in range(GOOD)]
    for name in good:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    with trial(world, "Poison", f"{len(corpus.images())} bad PNG images among good ones, for a script") as found:
        ended = world.wait(world.invoke("poison-images", tmp_path))
        lines = ended.predictions.decode().splitlines()[1:]
        rows = Counter({line.strip('"').split()[0]: corpus.ROWS for line in lines})
        messages = judge(world, ended, good, rows, found)
        assert set(messages) | set(rows) == set(corpus.images()) | set(good)


def test_what_is_no_plain_file(world: World, tabular: str, tmp_path: Path) -> None:
    """Pipes, sockets, loops of links, a device without an end, and folders as deep as they can be."""
    for make in corpus.odd_places(tmp_path).values():
        make()
    good = good_files(tmp_path)
    with trial(world, "Poison", f"{len(corpus.odd_places(tmp_path))} things that are no plain files") as found:
        ended = world.wait(world.invoke(tabular, tmp_path))
        messages = judge(world, ended, good, rows_by_file(ended), found)
        assert {"dangling.csv", "loop.csv"} <= set(messages)
