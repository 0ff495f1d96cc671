"""The names of the attributes that a run's warnings are about, for its log."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from airflow_provider_moengage.bulk.elements.findings import Finding

_MOST = 5
"""Attributes that the log line of a code names."""

_LONGEST = 40
"""Characters of a name that are shown."""

_NAME = re.compile(r"(?!.*\d{5})[\w .$-]+")
"""What looks like a name. What does not, such as an address or a phone number, may be personal data."""


class WarnedAttributes:
    """Attributes by the code of what MoEngage will cut, ignore or alter. Only the reader's thread uses it."""

    def __init__(self) -> None:
        self._names: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._has_more: set[str] = set()

    def note(self, findings: Iterable[Finding]) -> None:
        """Note what the findings of an element that is sent anyway are about."""
        for finding in findings:
            if not finding.about:
                continue
            names, name = self._names[finding.code], _shown(finding.about)
            if name in names:
                continue
            if name and len(names) < _MOST:
                names[name] = None
            else:
                self._has_more.add(finding.code)

    def of(self, code: str) -> str:
        """Return the attributes for a log line, in the order in which they were found; empty if none is known."""
        names = list(self._names.get(code, ()))
        return ", ".join([*names, "..."] if names and code in self._has_more else names)


def _shown(name: str) -> str:
    """Return a name for the log; empty if it may be personal data."""
    if not _NAME.fullmatch(name):
        return ""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
