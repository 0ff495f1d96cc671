"""The hosts of MoEngage's data centers.

MoEngage API reference, "Data centers": the number in the dashboard's URL (``dashboard-01.moengage.com``)
names the data center, and every API host carries the same number.
"""

from __future__ import annotations

import re

DATA_CENTERS = ("01", "02", "03", "04", "05", "06", "101")

_WRITTEN = re.compile(r"(?:dc)?[\s_-]*0*(\d{1,3})", re.IGNORECASE)


def normalise_data_center(value: object) -> str:
    """Return the two- or three-digit number of a data center as MoEngage writes it in host names.

    :param value: what users write: ``1``, ``"01"``, ``"DC-01"``, ``"dc1"``, ``101``.
    :raises ValueError: if MoEngage has no such data center. Only a number is shown: other text may be a key in the
        wrong field.
    """
    match = None if isinstance(value, bool) else _WRITTEN.fullmatch(str(value).strip())
    number = match[1].zfill(2) if match else None
    if number not in DATA_CENTERS:
        shown = "" if match is None else f" {str(value)!r}"
        raise ValueError(f"data_center{shown}: expected one of 01-06, 101")
    return number


def data_api_url(data_center: str) -> str:
    """Return the base URL of the Data API and of business events (the version is part of each path)."""
    return f"https://api-{data_center}.moengage.com"


def file_imports_url(data_center: str) -> str:
    """Return the base URL of the file imports API."""
    return f"https://fileimports-data-api-{data_center}.moengage.com"


def dashboard_url(data_center: str) -> str:
    """Return the URL of the data center's dashboard."""
    return f"https://dashboard-{data_center}.moengage.com"
