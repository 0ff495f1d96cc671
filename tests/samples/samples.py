"""The samples of MoEngage's API reference, as data: what its pages send and get, character for character.

Each file has the samples of one API family; ``page`` and ``sample`` say where MoEngage's documentation has it. A
sample that holds a variable of MoEngage's Postman collection, such as ``{{Mobile_Number}}``, is kept like that,
and tested a second time with :func:`filled`.
"""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path
from typing import Any

import pytest

_NAMED_AFTER = ("page", "status", "sample")

_VARIABLES = {
    "{{platform_bulk1}}": "ANDROID",
    "{{model_bulk1}}": "Pixel 9",
    "{{Mobile_Number}}": "+919876500000",
    "<string>": "Nightly users",
}


def load(family: str) -> dict[str, Any]:
    """Return the samples of an API family."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / f"{family}.json").read_text())
    return content


def filled(sample: Any) -> Any:
    """Return a sample with values in place of the variables."""
    text = json.dumps(sample)
    for variable, value in _VARIABLES.items():
        text = text.replace(variable, value)
    return json.loads(text)


def cases(samples: list[dict[str, Any]], pending: Set[str] = frozenset()) -> list[Any]:
    """Return the samples as the parameters of a test, named after their page.

    :param pending: samples that this package does not support yet.
    """
    return [
        pytest.param(
            sample,
            id="-".join(str(sample[key]) for key in _NAMED_AFTER if key in sample),
            marks=[pytest.mark.xfail(strict=False)] if sample["sample"] in pending else [],
        )
        for sample in samples
    ]
