"""Where data lies and jobs run: `client.datastores` and `client.compute`."""

from __future__ import annotations

from pathlib import Path

from ..blocks import datastore as datastores
from ..blocks import store
from ..blocks.compute import ComputeCluster, find_compute, list_computes, parse_compute, save_compute
from ..blocks.datastore import Datastore as DatastoreBlock
from ..blocks.datastore_file import parse_datastore
from . import views
from .connection import Connection
from .entities import AmlCompute, Datastore
from .poller import Poller


class DatastoreOperations:
    """Named places, with the credentials that open them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create_or_update(self, datastore: Datastore) -> Datastore:
        """Make a datastore, or change an existing one's credentials, options, description or read-only flag.

        Raises InvalidDocument, in whose message no credential stands.
        """
        beside = datastore.source.parent if datastore.source is not None else Path.cwd()
        block = parse_datastore(datastore.document(), str(datastore.source or "datastore"), beside)
        with self._connection.open() as client:
            return _shown(datastores.create_datastore(client, block))

    def get(self, name: str) -> Datastore:
        """A datastore. Raises NotFound."""
        with self._connection.open() as client:
            return _shown(datastores.find_datastore(client, name))

    def get_default(self) -> Datastore:
        """The datastore of jobs' files, of outputs without a path and of uploads. Raises NotFound."""
        with self._connection.open() as client:
            return _shown(datastores.default_datastore(client))

    def set_default(self, name: str) -> Datastore:
        """Choose that datastore. Raises NotFound, InvalidDocument for one that is read only."""
        with self._connection.open() as client:
            datastores.set_default(client, name)
        return self.get(name)

    def list(self) -> list[Datastore]:
        """All datastores, by name."""
        with self._connection.open() as client:
            return [_shown(block) for block in datastores.list_datastores(client)]

    def delete(self, name: str) -> None:
        """Delete a datastore's record; what is stored there stays. Raises NotFound, BatchError for the default."""
        with self._connection.open() as client:
            datastores.delete_datastore(client, name)


class ComputeOperations:
    """Where jobs run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin_create_or_update(self, compute: AmlCompute) -> Poller[AmlCompute]:
        """Make a compute, or bring an existing one in line with what is given of it. Raises InvalidDocument."""
        block = parse_compute(compute.document(), str(compute.source or "compute"))
        with self._connection.open() as client:
            return Poller(_compute(save_compute(client, block)))

    def get(self, name: str) -> AmlCompute:
        """A compute; `local` is always there. Raises NotFound."""
        with self._connection.open() as client:
            return _compute(find_compute(client, name.lower()))

    def list(self) -> list[AmlCompute]:
        """All computes, by name."""
        with self._connection.open() as client:
            return [_compute(block) for block in list_computes(client)]

    def stop(self, name: str) -> int:
        """End the Dask clusters of a compute that are kept for a next job; returns their number. Raises NotFound."""
        from ..flows.provision import stop_kept  # which imports Dask

        with self._connection.open() as client:
            return stop_kept(client, find_compute(client, name.lower()).name)

    def begin_delete(self, name: str) -> Poller[None]:
        """Delete a compute's record; jobs that run on it go on, and what is kept of it ends. Raises NotFound."""
        with self._connection.open() as client:
            store.delete(ComputeCluster, name.lower(), client)
        return Poller(None)


def _shown(block: DatastoreBlock) -> Datastore:
    shown = views.of_datastore(block, default=False)
    return Datastore.told({key: value for key, value in shown.items() if key != "credentials"})


def _compute(block: ComputeCluster) -> AmlCompute:
    return AmlCompute.told(views.of_compute(block))
