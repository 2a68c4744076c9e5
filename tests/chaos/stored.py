"""What a version of this project stores. Each release writes it once, and every later one has to read it:

    PYTHONPATH=tests .venv/bin/python -m chaos.stored 0.1.0

writes tests/stored/0.1.0.json: the block documents with their schemas, what Prefect knows of endpoints and of a job
that failed, and all files of the datastore. A folder and a job's id stand in it as ROOT and JOB, as long as what
restore() puts there instead: some files say at which byte a part of them begins.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from .world import World

ROOT, JOB = "/stored-by-an-earlier-version".ljust(64, "_"), "stored00-0000-0000-0000-000000000000"
STORED = Path(__file__).resolve().parents[1] / "stored"
SLUGS = ("batch-", "compute-", "model-deployment", "pipeline-deployment")
"""What the slugs of our block types begin with."""
DEPLOYMENT_KEYS = [
    *("name", "description", "parameters", "parameter_openapi_schema", "enforce_parameter_schema"),
    *("entrypoint", "pull_steps", "tags", "work_pool_name", "job_variables"),
]
GATE = "closed"
"""A file beside the folder of data; while it is there, the script fails."""
PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = {
    "endpoint": ["name: stored\ndescription: From an earlier version.\ntags: {team: risk}\n"],
    "datastore": [
        "name: lake\ntype: s3\nbucket: lake\nendpoint_url: http://127.0.0.1:9\n"
        "credentials: {access_key_id: key, secret_access_key: planted-secret}\n"
    ],
    "data": ["name: patients\nversion: 1\ntype: uri_folder\npath: data\n"],
    "compute": ["name: pair\ntype: local\nmax_instances: 2\n"],
    "environment": ["name: tools\nversion: 1\npython_requirements: [pip]\n"],
}


def path_below(folder: Path) -> Path:
    """A path in a folder that is as long as ROOT."""
    return folder / "s".ljust(len(ROOT) - len(str(folder)) - 1, "_")


def write(world: World) -> dict[str, Any]:
    """Make one of each in a world that runs, and let a job fail; returns all that is stored of it then."""
    root, data = world.root, world.root / "data"
    data.mkdir()
    for number in range(6):
        (data / f"item-{number}.txt").write_text(str(number))
    (root / GATE).touch()
    _deploy(world)
    job = world.invoke("stored", data)
    assert world.wait(job).state == "Failed"
    (root / GATE).unlink()
    with httpx.Client(base_url=world.local.api_url, timeout=60) as api:
        found = {
            "blocks": [_block(one) for one in _all(api, "block_documents", include_secrets=True)],
            "variables": [{key: one[key] for key in ("name", "value", "tags")} for one in _all(api, "variables")],
            "deployments": [{key: one[key] for key in DEPLOYMENT_KEYS} for one in _all(api, "deployments")],
            "job": {key: api.get(f"flow_runs/{job}").json()[key] for key in ("name", "parameters", "tags")},
            "files": {str(path.relative_to(root)): _text(path) for path in sorted(root.rglob("*")) if _is_kept(path)},
        }
    found["blocks"] = [one for one in found["blocks"] if one["type"]["slug"].startswith(SLUGS)]
    told = json.dumps(found).replace(str(root), ROOT).replace(str(job), JOB)
    return json.loads(told.replace(str(PROJECT), "/project".ljust(len(str(PROJECT)), "_")))  # in a traceback


def restore(world: World, stored: dict[str, Any]) -> tuple[Path, UUID]:
    """Put it into a world that runs, with the means of Prefect's API alone; its folder, and its failed job."""
    root = path_below(world.root)
    with httpx.Client(base_url=world.local.api_url, timeout=60) as api:
        here = json.loads(json.dumps(stored).replace(ROOT, str(root)))
        for block in here["blocks"]:
            type_id = _made(api, "block_types", block["type"], f"slug/{block['type']['slug']}")
            schema_id = _posted(api, "block_schemas", block["schema"] | {"block_type_id": type_id})
            document = {"name": block["name"], "data": block["data"]}
            _posted(api, "block_documents", document | {"block_type_id": type_id, "block_schema_id": schema_id})
        for variable in here["variables"]:
            _posted(api, "variables", variable)
        flow = _posted(api, "flows", {"name": "endpoint"})
        ids = {one["name"]: _posted(api, "deployments", one | {"flow_id": flow}) for one in here["deployments"]}
        failed = {"type": "FAILED", "name": "Failed", "message": "As stored"}
        job = _posted(api, f"deployments/{ids['stored']}/create_flow_run", here["job"] | {"state": failed})
    for name, text in here["files"].items():
        path = root / name.replace(JOB, job)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = base64.b64decode(text["base64"]) if isinstance(text, dict) else text.replace(JOB, job).encode()
        path.write_bytes(content)
    return root, UUID(job)


def _deploy(world: World) -> None:
    run = (
        f"if (Path(mini_batch[0]).parents[1] / {GATE!r}).exists() and mini_batch[0].endswith('5.txt'):\n"
        "    raise ValueError('the gate is closed')\nreturn [Path(p).name for p in mini_batch]"
    )
    for noun, documents in DOCUMENTS.items():
        for document in documents:
            path = world.root / f"{noun}.yml"
            path.write_text(document)
            _run(world, noun, "create", "-f", str(path))
            path.unlink()
    world.deploy_script("stored", run, mini_batch_size=1, error_threshold=0, max_concurrency_per_instance=1)
    shutil.copytree(PROJECT / "examples" / "diamond", world.root / "diamond")
    _run(world, "endpoint", "create", "diamond")
    _run(world, "deployment", "create", "-f", str(world.root / "diamond" / "deployment.yml"), "--set-default")
    shutil.rmtree(world.root / "diamond")


def _run(world: World, *arguments: str) -> None:
    command = world.command(*arguments)
    said, _ = command.communicate(timeout=120)
    assert command.returncode == 0, said


def _all(api: httpx.Client, what: str, **body: Any) -> list[dict[str, Any]]:
    return api.post(f"{what}/filter", json=body).raise_for_status().json()


def _block(document: dict[str, Any]) -> dict[str, Any]:
    kind, schema = document["block_type"], document["block_schema"]
    return {
        "type": {key: kind[key] for key in ("name", "slug")},
        "schema": {key: schema[key] for key in ("fields", "capabilities", "version")},
        "name": document["name"],
        "data": document["data"],
    }


def _is_kept(path: Path) -> bool:
    return path.is_file() and ("prefect-batch" in path.parts or "data" in path.parts)


def _text(path: Path) -> str | dict[str, str]:
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _posted(api: httpx.Client, what: str, body: dict[str, Any]) -> str:
    """The id of what was made."""
    return api.post(what if "/" in what else f"{what}/", json=body).raise_for_status().json()["id"]


def _made(api: httpx.Client, what: str, body: dict[str, Any], name: str) -> str:
    """The id of what is there, or was made."""
    found = api.get(f"{what}/{name}")
    return _posted(api, what, body) if found.status_code == 404 else found.raise_for_status().json()["id"]


def main(version: str) -> None:
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        World(Path(folder), root=path_below(Path(folder))).running() as world,
    ):
        STORED.mkdir(exist_ok=True)
        (STORED / f"{version}.json").write_text(json.dumps(write(world), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
