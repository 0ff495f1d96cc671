from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sources.conftest import servers, warehouse  # noqa: F401 (fixtures)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return what was logged: Airflow 3 writes it to the output, Airflow 2 to the logger."""

    def text() -> str:
        captured = capsys.readouterr()
        return f"{caplog.text}{captured.out}{captured.err}"

    return text
