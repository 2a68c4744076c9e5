"""Draw docs/images anew: the Run form of the demo's model, a job of it that runs, and that job finished.

python tests/screenshots.py
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="screenshots-"))
os.environ |= {"PREFECT_HOME": str(HOME / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}

from browser import RunForm, new_page  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Page  # noqa: E402
from prefect.client.orchestration import get_client  # noqa: E402
from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: E402

from prefect_batch.blocks.endpoint import BatchEndpoint  # noqa: E402
from prefect_batch.flows import catalog, jobs  # noqa: E402
from prefect_batch.interfaces.local_server import LocalServer  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
COPIES = 20
"""Of the demo's data, so that the job is still running when its picture is taken."""
WIDTH, HEIGHT = 1280, 960
GRAPH_MILLISECONDS = 5000
"""Until the graph of a run, a canvas that says nothing of itself, is drawn."""


def main() -> None:
    """Draw all three."""
    folder = HOME / "cancer"
    shutil.copytree(ROOT / "examples" / "demo", folder)
    subprocess.run([sys.executable, folder / "train.py", folder], check=True)
    for file in list((folder / "data").iterdir()):
        for copy in range(1, COPIES):
            shutil.copyfile(file, folder / "data" / f"{file.stem}-{copy:02}.csv")
    IMAGES.mkdir(exist_ok=True)
    with (HOME / "server.log").open("wb") as log:
        server = LocalServer(log=log, working_directory=HOME)
        server.start()
        try:
            _walk(server, folder / "deployment.yml")
        finally:
            server.stop()


def _walk(server: LocalServer, deployment: Path) -> None:
    with temporary_settings({PREFECT_API_URL: server.api_url}), get_client(sync_client=True) as client:
        about = "Breast cancer, benign or malignant, from 30 measurements of a tumour."
        catalog.create_endpoint(client, BatchEndpoint(name="cancer", description=about))
        catalog.create_deployment(client, deployment, endpoint="cancer", set_default=True)
        endpoint = jobs.find_endpoint(client, "cancer").id
    with new_page(server.ui_url) as page:
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        form = RunForm(page, endpoint)
        form.fill("cancer/data", "input")
        form.fill("cancer/out", "outputs", "score")
        form.choose("breast-cancer", "deployment")
        form.fill("5", "settings", "mini_batch_size")
        page.evaluate("document.activeElement.blur()")
        _draw(page, "form")
        job = form.make_run()
        job.expect_artifact(re.compile(r"[1-9]\d+ of \d+ mini-batches"))
        _draw(page, "running")
        job.expect_artifact("files scored")
        job.expect_state("Completed")
        _draw(page, "finished")


def _draw(page: Page, name: str) -> None:
    """In 256 colours, which are all that the page has."""
    page.wait_for_timeout(GRAPH_MILLISECONDS)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        path = IMAGES / f"{name}.png"
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
