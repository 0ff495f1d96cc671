"""One problem with an element: what every check returns."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_moengage.bulk.elements.rules import WARNINGS, Code


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem with an element. The message may name an attribute. It never holds a value, except for what
    MoEngage says about an element.

    :param public: the message without values, if they differ.
    :param about: the attribute or field that a warning is about; empty if it is about none in particular.
    """

    code: Code
    message: str
    public: str | None = None
    about: str = ""

    @property
    def is_warning(self) -> bool:
        """Whether MoEngage would accept the element anyway."""
        return self.code in WARNINGS
