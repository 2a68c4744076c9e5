"""The nodes of a running job's cluster, counted: for what the job costs, and for when there are none."""

from __future__ import annotations

import contextlib
import copy
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from distributed import Client

from ..scoring.errors import JobFailed
from ..scoring.storage import Folder
from .usage import Usage, begin

LOOK_SECONDS, SAVE_SECONDS = 0.5, 10.0
_ANSWER_SECONDS = 5.0


class NodeWatch:
    """Counts the nodes of a cluster from its making to close(), and notes them in the job's folder.

    Args:
        client: of the cluster's scheduler, for this only; closed with this.
        usage: what is known of the job's stay; the rest is filled in.
        began: time.monotonic() at usage.started_at.
        folder: the job's.
        wait_seconds: that the job waits for a node where there is none.
        resume: what to say of how the job can go on, after it has waited in vain.
    """

    def __init__(
        self, client: Client, usage: Usage, began: float, folder: Folder, wait_seconds: float, resume: str
    ) -> None:
        self._client: Any = client
        self._usage, self._began, self._folder = usage, began, folder
        self._wait_seconds, self._resume = wait_seconds, resume
        self._lock = threading.Condition()
        self._nodes: set[str] = set()
        self._seen = time.monotonic()
        self._losses_count = False
        self._starved: str | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._saved = time.monotonic()
        self._number: int | None = None
        self._closed = threading.Event()
        self._look()
        self._save()
        self._thread = threading.Thread(target=self._watch, name="nodes", daemon=True)
        self._thread.start()

    @property
    def starved(self) -> str | None:
        """Why the job cannot go on, once it has waited in vain for nodes."""
        return self._starved

    def on_starved(self, callback: Callable[[], None]) -> None:
        """Have this called, in another thread and again and again, once there have been no nodes for too long."""
        with self._lock:
            self._callbacks.append(callback)

    def usage(self) -> Usage:
        """What the job has had until now."""
        with self._lock:
            self._usage.seconds = self._now()
            return copy.deepcopy(self._usage)

    def wait_for_nodes(self) -> None:
        """Until there is one. Raises JobFailed when there was none for too long."""
        with self._lock:
            self._lock.wait_for(lambda: self._nodes or self._starved)
        self.check()

    def wait_for_count(self, count: int, seconds: float) -> None:
        """Until there are so many nodes, neither more nor fewer, or the time is over; losses count from then on."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._nodes) == count, seconds)
            self._losses_count = True

    def check(self) -> None:
        """Raises JobFailed once there have been no nodes for too long."""
        if self._starved:
            raise JobFailed(self._starved)

    def cut_off(self) -> JobFailed:
        """Why tasks of the job were cancelled without its doing: for want of nodes, or their scheduler is gone."""
        return JobFailed(self._starved or f"compute {self._usage.compute!r} lost its Dask scheduler: {self._resume}")

    def close(self) -> None:
        """Note the end, before the nodes are given back. Never raises."""
        self._closed.set()
        self._thread.join(2 * _ANSWER_SECONDS)
        with self._lock:
            self._count(0)
        self._save()
        try:
            self._client.close(timeout=_ANSWER_SECONDS)
        except Exception as error:
            logging.getLogger(__name__).warning("The client that counted nodes did not close: %r", error)

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            self._look()
            if time.monotonic() - self._saved > SAVE_SECONDS:
                self._save()

    def _look(self) -> None:
        found: set[str] | None = None
        with contextlib.suppress(Exception):  # a scheduler that does not answer may in a while
            found = set(self._client.sync(self._client.scheduler.ncores, callback_timeout=_ANSWER_SECONDS))
        if self._closed.is_set():
            return
        with self._lock:
            if found is not None:
                if self._losses_count:
                    self._usage.nodes_lost += len(self._nodes - found)
                self._nodes = found
                self._count(len(found))
            if found:
                self._seen = time.monotonic()
            elif not self._starved and time.monotonic() - self._seen > self._wait_seconds:
                self._starved = (
                    f"compute {self._usage.compute!r} had no node for {self._wait_seconds:g} s (node_wait_timeout): "
                    f"{self._resume}"
                )
            starved, callbacks = self._starved, list(self._callbacks)
            self._lock.notify_all()
        if starved:
            for callback in callbacks:
                try:
                    callback()
                except Exception as error:  # it is called again
                    logging.getLogger(__name__).warning("The job's tasks could not be cancelled: %r", error)

    def _count(self, number: int) -> None:
        counts = self._usage.counts
        self._usage.seconds = self._now()
        if not counts or counts[-1][1] != number:
            counts.append((self._now(), number))

    def _now(self) -> float:
        return round(time.monotonic() - self._began, 3)

    def _save(self) -> None:
        self._saved, usage = time.monotonic(), self.usage()
        try:
            if self._number is None:
                self._number = begin(self._folder, usage)
            else:
                usage.save(self._folder, self._number)
        except Exception as error:  # what a job costs is no reason for it to fail
            logging.getLogger(__name__).warning("The job's use of its nodes could not be noted: %s", error)
