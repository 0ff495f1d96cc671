"""One problem with an element: what every check returns."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_moengage.bulk.elements.rules import WARNINGS, Code


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem with an element. The message may name an attribute; it never holds a value."""

    code: Code
    message: str

    @property
    def is_warning(self) -> bool:
        """Whether MoEngage would accept the element anyway."""
        return self.code in WARNINGS
