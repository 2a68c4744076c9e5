"""What Prefect tells a server on the side: events and logs, by threads that this process has for all servers."""

from __future__ import annotations

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker


def say_all() -> None:
    """Before a server goes: what this process has still to tell it. Another would else be told over the connections to
    this one."""
    APILogWorker.drain_all(timeout=10)
    EventsWorker.drain_all(timeout=10)
