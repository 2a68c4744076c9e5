"""Runs the scoring process in a Python that has no prefect-batch: `python bootstrap.py <fd> <fd> <fd>`.

The modules come from the folder that this file is in, under the names that they have in the worker, however they are
installed there. Nothing else of the worker's Python is seen.
"""

from __future__ import annotations

import os
import sys
import types

_PACKAGE, _FLOOR = "prefect_batch", "prefect_batch.scoring"


def main(folder: str) -> None:
    """Lay out the package around `folder`, and answer requests."""
    for name, folders in ((_PACKAGE, list[str]()), (_FLOOR, [folder])):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = folders
    from prefect_batch.scoring import process

    process.main(*(int(fd) for fd in sys.argv[1:4]))


if __name__ == "__main__":
    _folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    if sys.path[0] == _folder:  # where a user's `import rows` would find ours
        del sys.path[0]
    main(_folder)
