from __future__ import annotations

import pytest

from airflow_provider_moengage.api.data_centers import (
    DATA_CENTERS,
    dashboard_url,
    data_api_url,
    normalise_data_center,
)


@pytest.mark.parametrize("number", DATA_CENTERS)
def test_a_data_center_is_known_by_its_own_number(number: str) -> None:
    assert normalise_data_center(number) == number


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (1, "01"),
        ("1", "01"),
        (" 01 ", "01"),
        ("001", "01"),
        ("dc1", "01"),
        ("DC-01", "01"),
        ("DC 2", "02"),
        ("dc_03", "03"),
        (101, "101"),
        ("DC-101", "101"),
    ],
)
def test_a_data_center_is_understood_as_people_write_it(written: object, number: str) -> None:
    assert normalise_data_center(written) == number


@pytest.mark.parametrize("written", ["7", "07", "DC7", 0, "10", "102", "", "eu", "01.moengage", "1.0", None, True])
def test_what_is_no_data_center_is_refused_with_the_ones_there_are(written: object) -> None:
    with pytest.raises(ValueError, match=r"^data_center( '.*')?: expected one of 01-06, 101$"):
        normalise_data_center(written)


def test_the_number_that_is_no_data_center_is_shown() -> None:
    with pytest.raises(ValueError, match=r"^data_center 'DC-07': expected one of 01-06, 101$"):
        normalise_data_center("DC-07")


def test_the_hosts_carry_the_data_centers_number() -> None:
    assert data_api_url("03") == "https://api-03.moengage.com"
    assert dashboard_url("101") == "https://dashboard-101.moengage.com"
