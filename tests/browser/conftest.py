from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import Emulator
from tests.browser.traffic import Clock, Sender

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    reason = "the browser tests need Playwright: run make browser, or pip install --group browser"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    with sync_api.sync_playwright() as playwright:
        found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        if not found and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("the browser tests need Chromium: apt-get install chromium, or its path in CHROMIUM")
        # Chromium's sandbox does not run as root. No name but the loopback's leads anywhere.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        arguments.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        browser = playwright.chromium.launch(executable_path=found or None, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> Iterator[Emulator]:
    with Emulator(clock=clock) as emulator:
        yield emulator


@pytest.fixture
def sender(emulator: Emulator) -> Iterator[Sender]:
    sender = Sender(emulator)
    with sender.session:
        yield sender


class Complaints(list[str]):
    """What the browser complained of; a test that provokes something forgives it."""

    def forgive(self, words: str) -> None:
        self[:] = [complaint for complaint in self if words not in complaint]


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def open_page(browser: Browser, emulator: Emulator, complaints: Complaints) -> Iterator[Open]:
    """Opens the emulator's page; a test fails where it asks for anything else, or the console has errors."""
    contexts, foreign = [], []

    def open_page(path: str = "/", *, width: int = 1200, height: int = 900, **context_options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **context_options)
        contexts.append(context)
        page = context.new_page()

        def guard(route: Any) -> None:
            if route.request.url.startswith(f"{emulator.url}/"):
                route.continue_()
            else:
                foreign.append(route.request.url)
                route.abort()

        context.route("**/*", guard)
        page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(emulator.url + path)
        page.wait_for_selector("#counts div")
        page.evaluate("window.unreloaded = true")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert foreign == []
    assert complaints == []
