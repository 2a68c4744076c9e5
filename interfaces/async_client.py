"""The Python client for asynchronous programs: everything that BatchClient does, to be awaited.

    from prefect_batch.interfaces.async_client import AsyncBatchClient

    client = AsyncBatchClient()
    job = await client.batch_endpoints.invoke("heart", input="data/")
    print(await job.result())

Each call runs BatchClient's in a thread; a job that is waited for holds none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, cast

from .client import BatchClient
from .job import Job

if TYPE_CHECKING:
    import pandas as pd


class _Awaited:
    """An object whose methods are awaited."""

    def __init__(self, wrapped: object) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by copy and pickle, before there is anything to ask
            raise AttributeError(name)
        value = getattr(self._wrapped, name)
        return _awaited(value) if callable(value) else value

    def __repr__(self) -> str:
        return f"Async{self._wrapped!r}"


def _awaited(method: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*arguments: Any, **options: Any) -> Any:
        return _as_async(await asyncio.to_thread(method, *arguments, **options))

    call.__doc__ = method.__doc__
    return call


def _as_async(value: Any) -> Any:
    if isinstance(value, Job):
        return AsyncJob(value)
    return [_as_async(each) for each in cast("list[Any]", value)] if isinstance(value, list) else value


class AsyncJob(_Awaited):
    """A job. Its methods are Job's, to be awaited; what it was when it was last read are its attributes."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._job = job

    async def wait(self, timeout: float | None = None) -> Self:
        """Wait until it has ended, however it has; returns itself.

        Args:
            timeout: seconds after which TimeoutError is raised; the job goes on.
        """
        looks = self._job.looks(timeout)
        while (pause := await asyncio.to_thread(next, looks, None)) is not None:
            await asyncio.sleep(pause)
        return self

    async def result(self, output_name: str | None = None, timeout: float | None = None) -> pd.DataFrame:
        """Wait for its end, and read an output as a table, as Job.result() does."""
        await self.wait(timeout)
        return await asyncio.to_thread(self._job.table, output_name)


class AsyncBatchClient:
    """BatchClient with every method to be awaited, and every Job an AsyncJob. What `begin_...` gives is done."""

    def __init__(self, api_url: str | None = None, api_key: str | None = None) -> None:
        """
        Args:
            api_url: of the Prefect server; by default that of Prefect's settings (PREFECT_API_URL, or the profile).
            api_key: of Prefect Cloud; by default that of Prefect's settings.
        """
        self._client = BatchClient(api_url, api_key)

    @classmethod
    def from_config(cls, profile: str | None = None) -> Self:
        """A client with the settings that Prefect keeps: of a profile, or those in force. Raises NotFound."""
        client = cls()
        client._client = BatchClient.from_config(profile)
        return client

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        return _awaited(value) if callable(value) else _Awaited(value)
