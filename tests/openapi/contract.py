"""Validates requests and responses against ``moengage.yaml``."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml  # type: ignore[import-untyped, unused-ignore]  # its stubs are not a dependency
from referencing import Registry
from referencing.jsonschema import DRAFT202012

DOCUMENT = Path(__file__).parent / "moengage.yaml"

_URI = "urn:moengage"
_ELEMENTS_CHECKED = 10
"""Elements of a bulk body that are validated: enough to see what a test sends, and quick."""


@dataclass(frozen=True)
class Operation:
    """A path and a method of the document."""

    template: str
    method: str
    parameters: Mapping[str, str]


class Contract:
    """The document, and what it says about a request or a response.

    :param document: an OpenAPI 3.1 document, whose schemas are JSON Schema 2020-12.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._registry: Any = Registry().with_resource(_URI, DRAFT202012.create_resource(document))
        self._validators: dict[str, Any] = {}
        self._paths = [
            (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), path) for path in document["paths"]
        ]

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation of a request; None if the document has none."""
        for pattern, template in self._paths:
            found = pattern.fullmatch(path)
            if found and method.lower() in self.document["paths"][template]:
                return Operation(template, method.lower(), found.groupdict())
        return None

    def request_problems(
        self, operation: Operation, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> list[str]:
        """Return what is wrong with a request; ``headers`` are case-insensitive."""
        told = self._told(operation)
        problems = [] if _is_basic(headers.get("authorization", "")) else ["Authorization: expected Basic"]
        given = {"path": operation.parameters, "query": query, "header": headers}
        for at, parameter in enumerate(told.get("parameters", [])):
            pointer, parameter = self._followed(f"{_pointer(operation)}/parameters/{at}", parameter)
            value = given[parameter["in"]].get(parameter["name"])
            if value is not None:
                problems += self._mismatches(f"{pointer}/schema", value, parameter["name"])
            elif parameter.get("required"):
                problems.append(f"{parameter['name']}: missing")
        content = told.get("requestBody")
        if content is None:
            return [*problems, *(["body: expected none"] if body else [])]
        if not body:
            return [*problems, *(["body: missing"] if content["required"] else [])]
        if headers.get("content-type", "").partition(";")[0] != "application/json":
            problems.append("Content-Type: expected application/json")
        pointer = f"{_pointer(operation)}/requestBody/content/application~1json/schema"
        return [*problems, *self._mismatches(pointer, _abridged(json.loads(body)), "body")]

    def response_problems(
        self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes
    ) -> list[str]:
        """Return what is wrong with a response; ``headers`` are case-insensitive."""
        responses = self._told(operation)["responses"]
        if str(status) not in responses:
            return [f"status {status}: not documented"]
        pointer = f"{_pointer(operation)}/responses/{status}"
        pointer, response = self._followed(pointer, responses[str(status)])
        problems = []
        for name, header in response.get("headers", {}).items():
            if name in headers:
                at, _ = self._followed(f"{pointer}/headers/{name}", header)
                problems += self._mismatches(f"{at}/schema", headers[name], name)
        try:
            content = json.loads(body)
        except ValueError:
            return [*problems, "body: not JSON"]
        return [*problems, *self._mismatches(f"{pointer}/content/application~1json/schema", content, "body")]

    def _told(self, operation: Operation) -> dict[str, Any]:
        told: dict[str, Any] = self.document["paths"][operation.template][operation.method]
        return told

    def _followed(self, pointer: str, part: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return a part of the document and its place; a reference is followed."""
        if "$ref" not in part:
            return pointer, part
        target = part["$ref"].removeprefix("#")
        found: Any = self.document
        for name in target.split("/")[1:]:
            found = found[name]
        return target, found

    def _mismatches(self, pointer: str, value: Any, name: str) -> list[str]:
        if pointer not in self._validators:
            self._validators[pointer] = jsonschema.Draft202012Validator(
                {"$ref": f"{_URI}#{pointer}"}, registry=self._registry
            )
        errors = self._validators[pointer].iter_errors(value)
        return [f"{name}{error.json_path.removeprefix('$')}: {error.message[:200]}" for error in errors]


@cache
def contract() -> Contract:
    """Return the contract with MoEngage."""
    return Contract(yaml.safe_load(DOCUMENT.read_text()))


def _pointer(operation: Operation) -> str:
    return f"/paths/{operation.template.replace('/', '~1')}/{operation.method}"


def _is_basic(header: str) -> bool:
    scheme, _, encoded = header.partition(" ")
    try:
        return scheme == "Basic" and b":" in base64.b64decode(encoded, validate=True)
    except ValueError:
        return False


def _abridged(body: Any) -> Any:
    if isinstance(body, dict) and isinstance(body.get("elements"), list):
        return {**body, "elements": body["elements"][:_ELEMENTS_CHECKED]}
    return body
