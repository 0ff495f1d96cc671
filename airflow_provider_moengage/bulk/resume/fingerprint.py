"""A short name of inputs: two runs with the same one would send the same. Nothing can be read from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from hashlib import blake2b

import msgspec

from airflow_provider_moengage.bulk.resume.rejects import written

_CHUNK = 1_000

_ENCODER = msgspec.json.Encoder(order="deterministic")  # a set has another order in another process


def fingerprint(*inputs: object) -> str:
    """Return the name of inputs of any type that can be written somehow."""
    digest = blake2b(digest_size=16)
    for part in inputs:
        digest.update(json.dumps(_plain(part)).encode() + b"\n")
    return digest.hexdigest()


def fingerprint_of_elements(elements: Sequence[object]) -> str:
    """Return the name of a list of elements: of all that is in it, in its order."""
    digest = blake2b(digest_size=16)
    for start in range(0, len(elements), _CHUNK):
        chunk = elements[start : start + _CHUNK]
        try:
            digest.update(_ENCODER.encode_lines(chunk))
        except Exception:  # one of them cannot be encoded, and will be a reject
            for element in chunk:
                digest.update(json.dumps(_plain(element)).encode() + b"\n")
    return digest.hexdigest()


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return [type(value).__name__, named]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):  # in another process it has another order
        return sorted(map(repr, value))
    return written(value)
