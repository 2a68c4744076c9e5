"""Prefect's own map of a task that does nothing over Dask. `python prefect_map.py TASKS`

Against the server that PREFECT_API_URL names. Prints the seconds of the map and how many tasks have completed.
"""

from __future__ import annotations

import sys
import time

from prefect import flow, task
from prefect_dask import DaskTaskRunner


@task
def nothing(number: int) -> int:
    return number


RUNNER = DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None})


@flow(task_runner=RUNNER)
def all_of_them(tasks: int) -> None:
    nothing.submit(-1).result()  # the cluster is there, and Prefect is imported
    began = time.monotonic()
    states = [future.result() for future in nothing.map(range(tasks))]
    print(f"scoring {time.monotonic() - began:.3f}")
    print(f"completed {len(states)}")


if __name__ == "__main__":
    all_of_them(int(sys.argv[1]))
