"""A real browser for the tests of Prefect's web page: Debian's chromium, without a window.

It is installed with apt-get at the first use, where the tests may do that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from uuid import UUID

from playwright.sync_api import Locator, Page, Request, Route, expect, sync_playwright
from storage_servers import Unavailable

INSTALL_SECONDS = 300.0
ACTION_SECONDS, JOB_SECONDS = 60.0, 180.0
"""How long the page may take to show what is asked for, and a job to come that far."""
LOOK_SECONDS = 0.5
CLICK_SECONDS = 5.0
"""Between what the form hears of its values and what it then asks for: at once, were the machine not busy."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def install_chromium() -> str:
    """The program, installed on the first call. Raises Unavailable where apt-get cannot."""
    # Another process of the tests may be installing: what is half there must not be started.
    with (Path(tempfile.gettempdir()) / "prefect-batch-tests-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install_chromium()


def _install_chromium() -> str:
    if found := shutil.which("chromium"):
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Unavailable("no chromium here, and only root can install it: apt-get install chromium")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Something else on the machine may be installing at the same time.
    install = ["-o", f"DPkg::Lock::Timeout={INSTALL_SECONDS:g}", "install", "-y", "--no-install-recommends", "chromium"]
    for arguments in (["update"], install):
        try:
            done = subprocess.run(
                ["apt-get", "-q", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"apt-get cannot install chromium: {error}") from None
        if done.returncode:
            raise Unavailable(f"apt-get cannot install chromium: {' '.join(done.stderr.split())[-400:]}")
    if (found := shutil.which("chromium")) is None:
        raise Unavailable("apt-get has installed chromium, and there is no such program")
    return found


@contextlib.contextmanager
def new_page(ui_url: str) -> Generator[Page]:
    """A browser's page that reaches nothing but the server at `ui_url`. Raises Unavailable.

    Until it is closed, this thread has a running event loop, in which Prefect's synchronous calls do not work.
    """
    program = install_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(base_url=ui_url, viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        page.set_default_timeout(ACTION_SECONDS * 1000)

        def only_the_server(route: Route) -> None:
            if route.request.url.startswith((ui_url, "data:", "blob:")):
                route.continue_()
            else:
                route.abort()

        page.route("**/*", only_the_server)
        try:
            yield page
        finally:
            browser.close()


class RunForm:
    """The form of an endpoint's Run page."""

    def __init__(self, page: Page, deployment: UUID) -> None:
        self.page = page
        self._asked_for: list[Request] = []
        page.on("request", self._note)
        page.goto(f"/v2/deployments/deployment/{deployment}/run")
        self.field("deployment").wait_for()

    @property
    def labels(self) -> list[str]:
        """Of the fields and cards, from the top."""
        return self.page.locator("form label").all_inner_texts()

    def field(self, *path: str) -> Locator:
        """A field with its label, description, controls and errors; of fields in cards, the cards' names first."""
        found = self.page.locator("form")
        for name in path:
            label = found.locator("label").filter(has_text=re.compile(rf"^{re.escape(name)}( \(Optional\))?$"))
            found = label.first.locator("xpath=ancestor::div[contains(concat(' ', @class, ' '), ' group ')][1]")
        return found

    def fill(self, text: str, *path: str) -> None:
        """Write into a field for text or a number."""
        self.field(*path).locator("textarea, input").first.fill(text)

    def choose(self, option: str, *path: str) -> None:
        """Choose one of a list."""
        self.field(*path).locator("[aria-haspopup=listbox]").click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def switch(self, *path: str) -> None:
        """Turn a switch."""
        self.field(*path).get_by_role("switch").click()

    def _note(self, request: Request) -> None:
        if request.url.endswith("/create_flow_run"):
            self._asked_for.append(request)

    def submit(self) -> None:
        """Click Submit, with values that are to be refused."""
        self.page.get_by_role("button", name="Submit").click()

    def make_run(self) -> RunPage:
        """Click Submit until there is a run: after a refusal, a click only takes back what the form has said."""
        for _ in range(3):
            before = len(self._asked_for)
            with self.page.expect_response("**/ui/schemas/validate"):
                self.submit()
            deadline = time.monotonic() + CLICK_SECONDS
            while len(self._asked_for) == before and time.monotonic() < deadline:
                self.page.wait_for_timeout(50)
            if len(self._asked_for) > before:
                answer = self._asked_for[-1].response()
                assert answer is not None and answer.status in (201, 503), answer and answer.text()
                if answer.ok:  # and not 503, from a server that is too busy: then somebody would click again
                    return RunPage(self.page, answer.json()["id"])
        raise AssertionError(f"no run was made: {self.page.inner_text('form')}")

    @property
    def refusals(self) -> list[str]:
        """What the browser itself says of values, for which it does not submit the form."""
        script = "fields => fields.filter(field => !field.checkValidity()).map(field => field.validationMessage)"
        return self.page.locator("form input").evaluate_all(script)


class RunPage:
    """The page of a run, with its artifacts."""

    def __init__(self, page: Page, run: str) -> None:
        self.page, self._run = page, run
        page.goto(f"/v2/runs/flow-run/{run}?tab=Artifacts")

    def expect_state(self, name: str) -> None:
        """Wait for a state."""
        expect(self.page.get_by_text(name, exact=True).first).to_be_visible(timeout=JOB_SECONDS * 1000)

    def expect_artifact(self, text: str | re.Pattern[str]) -> None:
        """Wait for one with a text in its card.

        An open page does not look for new ones. It is loaded again only when the server has one: a page that is left
        breaks off what it asked for, and each time the server may stand still for a minute.
        """
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
        deadline = time.monotonic() + JOB_SECONDS
        while not any(map(pattern.search, told := self._told())):
            assert time.monotonic() < deadline, f"no artifact says {text!r}: {told}"
            self.page.wait_for_timeout(LOOK_SECONDS * 1000)
        self.page.reload()
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=ACTION_SECONDS * 1000)

    def _told(self) -> list[str]:
        """What the run's artifacts say beside their data."""
        of_run = {"artifacts": {"flow_run_id": {"any_": [self._run]}}}
        answer = self.page.request.post("/api/artifacts/filter", data=of_run)
        return [artifact["description"] or "" for artifact in answer.json()] if answer.ok else []

    @property
    def artifacts(self) -> list[str]:
        """The keys of those that the run has."""
        links = self.page.locator("a[href*='/artifacts/key/']")
        return [(link.get_attribute("href") or "").rpartition("/")[2] for link in links.all()]
