"""A task run of which there are very many, where telling of it would cost more than what it does.

Prefect's task engine, without what such a task has no use for: transactions, caching, retries, hooks and assets. The
server, which stores each state as an event at 3 to 4 ms of its processor, hears of Running only if the run takes a
second, and then of how it ended; the log has no line for one that completed.

Written against prefect 3.8; uses undocumented names of it (pyproject.toml pins it).
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import Any, cast
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.context import SyncClientContext
from prefect.states import Completed
from prefect.task_engine import (
    SyncTaskRunEngine,
    _create_task_run_locally,  # pyright: ignore[reportPrivateUsage]
)
from prefect.utilities.engine import emit_task_run_state_change_event

TOLD_AFTER_SECONDS = 1.0


def run_plain(task: Any, task_run_id: UUID, parameters: dict[str, Any]) -> State[Any]:
    """Run a task in the context that is entered; how it ended, with what it returned as the data of Completed.

    Raises what is no Exception (an interrupt, say), after it was told as a crash.
    """
    task_run = _create_task_run_locally(task, task_run_id, parameters)
    engine = _PlainRun(task=task, parameters=parameters, task_run=task_run)
    with SyncClientContext.get_or_create() as context, engine.setup_run_context(context.client):
        engine.begin_run()
        try:
            value: Any = task.fn(**parameters)
        except Exception as error:
            engine.handle_exception(error)
        except BaseException as error:
            engine.handle_crash(error)
            raise
        else:
            engine.set_state(cast("State[Any]", value if isinstance(value, State) else Completed(data=value)))
        return engine.state


class _PlainRun(SyncTaskRunEngine[..., Any]):
    """Holds its first state back, for a while."""

    _timer: threading.Timer | None = None

    def set_state(self, state: State[Any], force: bool = False) -> State[Any]:
        if state.is_running():
            return self._running(state)
        assert self._timer is not None
        self._timer.cancel()
        self._timer.join()  # had it begun, its event is to be the first
        return super().set_state(state, force)

    def _running(self, state: State[Any]) -> State[Any]:
        run, before = cast(Any, self.task_run), self.state
        state.state_details.task_run_id, state.state_details.flow_run_id = run.id, run.flow_run_id
        run.state, run.state_id, run.state_type, run.state_name = state, state.id, state.type, state.name
        run.run_count += 1
        # In this context, which says of which flow run the event is.
        self._timer = threading.Timer(TOLD_AFTER_SECONDS, copy_context().run, (self._tell, run, before, state))
        self._timer.daemon = True
        self._timer.start()
        return state

    def _tell(self, run: Any, before: State[Any], state: State[Any]) -> None:
        self._last_event = emit_task_run_state_change_event(run, before, state)
