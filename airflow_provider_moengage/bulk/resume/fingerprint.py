"""A fingerprint of a run's inputs: two runs with the same one would send the same. It reveals nothing of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from hashlib import blake2b

import msgspec

from airflow_provider_moengage.bulk.elements.json_value import to_json_value

_CHUNK = 1_000

_ENCODER = msgspec.json.Encoder(order="deterministic")  # a set has another order in another process


def fingerprint(*inputs: object) -> str:
    """Return the fingerprint of inputs of any type."""
    digest = blake2b(digest_size=16)
    for part in inputs:
        digest.update(json.dumps(_plain(part)).encode() + b"\n")
    return digest.hexdigest()


def fingerprint_of_elements(elements: Sequence[object]) -> str:
    """Return the fingerprint of a list of elements: of their whole content and their order."""
    digest = blake2b(digest_size=16)
    for start in range(0, len(elements), _CHUNK):
        chunk = elements[start : start + _CHUNK]
        try:
            digest.update(_ENCODER.encode_lines(chunk))
        except Exception:  # noqa: BLE001 (an element that cannot be encoded will be rejected)
            for element in chunk:
                digest.update(json.dumps(to_json_value(element)).encode() + b"\n")
    return digest.hexdigest()


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return [type(value).__name__, named]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):  # its order differs between processes
        return sorted(map(repr, value))
    return to_json_value(value)
