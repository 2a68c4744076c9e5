"""What is tried again, how often, and what is not."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
import tenacity

from prefect_batch.scoring import retries


class Answer(Exception):
    """An error with an HTTP status, as client libraries carry it: one under this name, another under that."""

    def __init__(self, **about: Any) -> None:
        super().__init__("an answer")
        self.__dict__.update(about)


def named(name: str, *bases: type[Exception]) -> Exception:
    return type(name, bases or (Exception,), {})("text")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


PASSING = [
    *(Answer(status=status) for status in (429, 500, 502, 503, 504)),
    Answer(status_code=503),
    Answer(code="500"),
    Answer(response={"ResponseMetadata": {"HTTPStatusCode": 503}}),
    TimeoutError(),
    ConnectionResetError(),
    OSError(errno.ETIMEDOUT, "timed out"),
    OSError(errno.EBUSY, "Please reduce your request rate."),
    named("ClientPayloadError"),
    named("ServerDisconnectedError", type("ClientConnectionError", (Exception,), {})),
    named("ReadTimeoutError"),
    named("ServiceRequestError"),
    caused(RuntimeError("Failed to remove"), Answer(status_code=503)),
    retries.ShortTransfer("3 bytes arrived of 4"),
]
LASTING = [
    *(Answer(status=status) for status in (400, 401, 403, 404, 409, 412)),
    Answer(status=None),
    FileNotFoundError(),
    PermissionError(),
    caused(FileExistsError(), Answer(status=503)),
    OSError(errno.ENOSPC, "No space left on device"),
    ValueError("503"),
    NotImplementedError(),
]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAIT", tenacity.wait_none())


class Flaky:
    """Fails with each of these errors in turn, then answers how often it was called."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls

    async def later(self) -> int:
        await asyncio.sleep(0)
        return self()


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_passes_is_tried_again(error: Exception) -> None:
    assert retries.call(Flaky(error, error)) == 3
    assert asyncio.run(retries.acall(Flaky(error).later)) == 2


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_does_not_pass_is_raised_at_once(error: Exception) -> None:
    flaky = Flaky(error)
    with pytest.raises(type(error)) as caught:
        retries.call(flaky)
    assert caught.value is error
    assert flaky.calls == 1


def test_attempts_are_bounded() -> None:
    flaky = Flaky(*[TimeoutError(str(number)) for number in range(100)])
    with pytest.raises(TimeoutError, match="4"):
        retries.call(flaky)
    assert flaky.calls == retries.ATTEMPTS == 5
    flaky = Flaky(*[TimeoutError()] * 100)
    with pytest.raises(TimeoutError):
        asyncio.run(retries.acall(flaky.later))
    assert flaky.calls == 5


def test_the_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PATIENCE", 0.0)
    flaky = Flaky(TimeoutError())
    with pytest.raises(TimeoutError):
        retries.call(flaky)
    assert flaky.calls == 1


def test_an_operation_that_returns_a_coroutine_is_awaited() -> None:
    flaky = Flaky(TimeoutError())
    assert asyncio.run(retries.acall(lambda: flaky.later())) == 2
