from __future__ import annotations

from tests.sources.conftest import servers  # noqa: F401 (fixture)
