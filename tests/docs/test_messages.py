"""How quoted messages are compared with the package's source."""

from __future__ import annotations

import pytest

from tests.docs.messages import is_said, mask, texts, unsaid, warnings_and_errors


def test_a_message_of_the_package_is_found_around_its_variable_parts() -> None:
    assert unsaid("The run was stopped; 1,204 elements were accepted before that") == []
    assert is_said("The run was stopped; 1,204 elements were accepted before that")


@pytest.mark.parametrize(
    "message", ["The run was halted; 1,204 elements were accepted", "Nothing of the kind is said"]
)
def test_a_message_that_the_package_does_not_have_is_reported(message: str) -> None:
    assert unsaid(message) != []


def test_docstrings_are_no_messages() -> None:
    assert not any("Return a file whose folder exists" in text for text in texts())


def test_variable_parts_of_warnings_and_errors_are_gaps() -> None:
    found = warnings_and_errors()

    assert any(text.startswith("Everything was delivered, but that could not be recorded (...)") for text in found)
    assert not any("%s" in text or "\0" in text for text in found)


def test_numbers_and_ids_are_masked() -> None:
    assert mask("1,204 of 5.5 in 67348ff2a1b2c3d4e5f60718") == "N of N in ID"
