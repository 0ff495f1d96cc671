from __future__ import annotations

from tests.openapi.traffic import contract_is_kept, recorded_problems  # noqa: F401 (fixtures)
