"""Routes of a job's outputs: what there is, and the files themselves."""

from __future__ import annotations

import mimetypes
from collections.abc import Generator
from typing import IO
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from prefect.client.orchestration import SyncPrefectClient

from ..flows.job_outputs import Output, Outputs, output_named, outputs_of
from ..scoring.errors import NotFound
from .callers import Caller
from .rest_access import CallerOf, GatewayOf
from .rest_jobs import Skip, Top, find_job
from .rest_resources import FilePage, FileResource, OutputList, OutputResource

router = APIRouter(prefix="/endpoints/{name}/jobs/{job}/outputs", tags=["outputs"])
_PIECE = 1 << 20


def _outputs(client: SyncPrefectClient, caller: Caller, name: str, job: UUID) -> Outputs:
    _, run = find_job(client, caller, name, job, "read")
    return outputs_of(client, run)[1]


def _output(client: SyncPrefectClient, caller: Caller, name: str, job: UUID, output: str) -> Output:
    return output_named(_outputs(client, caller, name, job), output, job)


@router.get("", response_model=OutputList, operation_id="listOutputs")
async def list_outputs(name: str, job: UUID, caller: CallerOf, gateway: GatewayOf) -> OutputList:
    """The outputs of a job that has ended."""
    found = await gateway.run(_outputs, gateway.client, caller, name, job)
    return OutputList(
        value=[
            OutputResource(name=output, uri=folder.url, files=len(files)) for output, (folder, files) in found.items()
        ]
    )


@router.get("/{output}", response_model=FilePage, operation_id="listFiles")
async def list_files(
    name: str, job: UUID, output: str, caller: CallerOf, gateway: GatewayOf, top: Top = 200, skip: Skip = 0
) -> FilePage:
    """The files of an output."""
    _, files = await gateway.run(_output, gateway.client, caller, name, job, output)
    at = f"/endpoints/{name.lower()}/jobs/{job}/outputs/{quote(output)}"
    shown = map(_readable, files[skip : skip + top])
    return FilePage(
        value=[FileResource(name=file, link=f"{at}/{quote(file)}") for file in shown],
        next_link=f"{at}?top={top}&skip={skip + top}" if skip + top < len(files) else None,
    )


@router.get(
    "/{output}/{path:path}",
    operation_id="getFile",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The file."}},
)
async def get_file(
    name: str, job: UUID, output: str, path: str, caller: CallerOf, gateway: GatewayOf
) -> StreamingResponse:
    """A file of an output."""

    def opened(client: SyncPrefectClient) -> tuple[IO[bytes], int | None]:
        folder, files = _output(client, caller, name, job, output)
        if path not in files:  # so that no spelling leads out of the output
            raise NotFound(f"output {output!r} of job {job} has no such file")
        try:
            return folder.open(path), folder.stat(path).size
        except FileNotFoundError:
            raise NotFound(f"output {output!r} of job {job} has lost this file") from None

    file, size = await gateway.run(opened, gateway.client)
    kind, packed = mimetypes.guess_type(path)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2], safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    if size is not None:
        headers["Content-Length"] = str(size)
    media = "application/octet-stream" if packed or kind is None else kind
    return StreamingResponse(_pieces(file), headers=headers, media_type=media)


def _readable(name: str) -> str:
    """A name on a disk may hold what is no text: it is shown, and cannot be asked for."""
    return name.encode("utf-8", "replace").decode()


def _pieces(file: IO[bytes]) -> Generator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
