from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import Emulator
from tests.browser.traffic import START, Sender
from tests.emulator.fake_clock import FakeClock

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

OpenPage = Callable[..., "Page"]
Expect = Callable[..., Any]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    reason = "the browser tests need Playwright: run make browser, or pip install --group browser"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    with sync_api.sync_playwright() as playwright:
        found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        if not found and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("the browser tests need Chromium: apt-get install chromium, or its path in CHROMIUM")
        # Chromium's sandbox does not run as root. Every host except the loopback address is unreachable.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        arguments.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        browser = playwright.chromium.launch(executable_path=found or None, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=START.timestamp())


@pytest.fixture
def emulator(clock: FakeClock) -> Iterator[Emulator]:
    with Emulator(clock=clock) as emulator:
        yield emulator


@pytest.fixture
def sender(emulator: Emulator) -> Iterator[Sender]:
    sender = Sender(emulator)
    with sender.session:
        yield sender


class BrowserErrors(list[str]):
    """Errors and warnings in the browser's console; a test that provokes one ignores it."""

    def ignore(self, text: str) -> None:
        self[:] = [error for error in self if text not in error]


@pytest.fixture
def expect(browser: Browser) -> Expect:
    from playwright import sync_api

    expect: Expect = sync_api.expect
    return expect


@pytest.fixture
def browser_errors() -> BrowserErrors:
    return BrowserErrors()


@pytest.fixture
def open_page(browser: Browser, emulator: Emulator, browser_errors: BrowserErrors) -> Iterator[OpenPage]:
    """Opens the emulator's page; the test fails if the page requests another host or the console has errors."""
    contexts, other_hosts = [], []

    def open_page(path: str = "/", *, width: int = 1200, height: int = 900, **context_options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **context_options)
        contexts.append(context)
        page = context.new_page()

        def guard(route: Route) -> None:
            if route.request.url.startswith(f"{emulator.url}/"):
                route.continue_()
            else:
                other_hosts.append(route.request.url)
                route.abort()

        def add_console_error(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                browser_errors.append(message.text)

        context.route("**/*", guard)
        page.on("console", add_console_error)
        page.on("pageerror", lambda error: browser_errors.append(str(error)))
        page.goto(emulator.url + path)
        page.wait_for_selector("#counts div")
        page.evaluate("window.notReloaded = true")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert other_hosts == []
    assert browser_errors == []
