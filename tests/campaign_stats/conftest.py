from __future__ import annotations

from tests.sources.conftest import servers, warehouse  # noqa: F401 (fixtures)
