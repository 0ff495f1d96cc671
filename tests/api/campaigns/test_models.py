"""What the nested statistics become: records with flat metrics, whose names can be columns."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.api.campaigns import models
from airflow_provider_moengage.api.campaigns.models import LONGEST_METRIC, metric_name, read_campaign, read_stats
from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.values import Received

DAY = date(2026, 11, 1)


def received(value: Any) -> Received:
    return Received(value, Scrub(("a-very-secret-key",)))


def stats_of(groups: Any) -> dict[str, Any]:
    data = {"c1": [{"platforms": {"ANDROID": {"locales": {"en": {"variations": {"A": groups}}}}}}]}
    [campaign] = read_stats(received(data), DAY, DAY)
    [stats] = campaign.stats
    return stats.metrics


def test_each_variation_of_each_locale_of_each_platform_is_a_record() -> None:
    variations: Any = {"variations": {"A": {}, "global_control_group": {}}}
    locales = {"locales": {"en": variations, "de": variations}}
    data = {"c1": [{"platforms": {"ANDROID": locales, "IOS": locales}}]}

    [campaign] = read_stats(received(data), DAY, DAY)

    found = {(it.platform, it.locale, it.variation) for it in campaign.stats}
    assert len(campaign.stats) == len(found) == 8


def test_groups_keep_metrics_of_the_same_name_apart() -> None:
    assert stats_of(
        {
            "performance_stats": {"sent": 2, "ctr": 33.3},
            "delivery_funnel": {"sent": 3},
            "failure_breakdown": {"user_removed": 1},
            "conversion_goal_stats": {"Goal 1": {"conversions": 4, "cvr": 0}},
        }
    ) == {
        "performance_sent": 2,
        "performance_ctr": 33.3,
        "funnel_sent": 3,
        "failure_user_removed": 1,
        "goal_goal_1_conversions": 4,
        "goal_goal_1_cvr": 0,
    }


def test_a_group_that_is_new_has_its_own_name() -> None:
    assert stats_of({"carbon_stats": {"grams": 5}}) == {"carbon_stats_grams": 5}


@pytest.mark.parametrize("value", [None, "N/A", True, [], {}, float("inf")])
def test_a_value_that_is_not_a_number_is_no_metric(value: Any) -> None:
    assert stats_of({"performance_stats": {"sent": value}}) == {}


@pytest.mark.parametrize("value", ["1,234", "12.5%", "1_0", [{"reason": "X", "count": 3}]], ids=repr)
def test_a_metric_that_cannot_be_read_is_named_once_without_its_value(
    value: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_reported", set())
    for _ in range(2):
        assert stats_of({"performance_stats": {"sent": value}}) == {}

    assert [record.getMessage() for record in caplog.records] == [
        "Metric performance_sent: is not a number in MoEngage's response, and is left out"
    ]


def test_a_number_may_be_text() -> None:
    assert stats_of({"performance_stats": {"sent": "12", "ctr": "1.5"}}) == {
        "performance_sent": 12,
        "performance_ctr": 1.5,
    }


def test_versions_are_records_of_their_own() -> None:
    one: Any = {"platforms": {"ANDROID": {"locales": {"en": {"variations": {"A": {}}}}}}}

    [campaign] = read_stats(received({"c1": [one, one, {**one, "version_number": 7}]}), DAY, DAY)

    assert [stats.version for stats in campaign.stats] == [1, 2, 7]


def test_two_goals_with_almost_the_same_name_do_not_overwrite_each_other() -> None:
    goals = {"Goal-1": {"conversions": 1}, "Goal 1": {"conversions": 2}}
    metrics = stats_of({"conversion_goal_stats": goals})

    assert sorted(metrics.values()) == [1, 2]
    assert metrics == stats_of({"conversion_goal_stats": dict(reversed(goals.items()))})


def test_the_name_of_a_goals_metric_depends_on_the_goal_only() -> None:
    goals = ["Sign up", "Sign-up", "sign up", "Sign Up", "Sign  up", "sign_up", "Sign up total"]
    alone = [name for goal in goals for name in stats_of({"conversion_goal_stats": {goal: {"conversions": 1}}})]
    together = stats_of({"conversion_goal_stats": {goal: {"conversions": 1} for goal in goals}})

    assert sorted(alone) == sorted(together)
    assert len(set(alone)) == len(goals)
    assert "goal_sign_up_conversions" in alone


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("goal", "Goal 1", "total_conversions"), ("goal", "Goal 1 total", "conversions")),
        (("goal", "Goal 1", "conversions"), ("goal", "goal_1_conversions")),
        (("failure", "Invalid Token"), ("failure", "invalid_token")),
        (("failure", "a", "b"), ("failure", "a_b")),
        (("a_stats", "b_c"), ("a_stats_b", "c")),
        (("performance_x", "y"), ("performance", "x_y")),
    ],
)
def test_names_that_read_alike_are_different_columns(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert metric_name(one) != metric_name(other)


def test_letters_that_a_column_cannot_have_do_not_make_two_goals_one() -> None:
    metrics = stats_of({"conversion_goal_stats": {"目標1": {"conversions": 1}, "ゴール1": {"conversions": 2}}})

    assert len(metrics) == 2


@pytest.mark.parametrize(
    "data",
    [{"c1": None}, {"c1": []}, {"c1": [{}]}, {"c1": [{"platforms": {}}]}, {"c1": [{"platforms": {"A": []}}]}],
    ids=repr,
)
def test_a_campaign_without_statistics_has_no_record(data: Any) -> None:
    assert [list(campaign.stats) for campaign in read_stats(received(data), DAY, DAY)] == [[]]


def test_a_name_does_not_show_a_key() -> None:
    data: Any = {"c1": [{"platforms": {"a-very-secret-key": {"locales": {"en": {"variations": {"A": {}}}}}}}]}
    [campaign] = read_stats(received(data), DAY, DAY)

    assert "a-very-secret-key" not in str(campaign)


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_the_name_of_a_metric_can_be_a_column_of_any_database(path: list[str]) -> None:
    name = metric_name(("goal", *path))

    assert name.isascii()
    assert name.replace("_", "a").isalnum()
    assert name == name.lower()
    assert len(name) <= LONGEST_METRIC
    assert name[0].isalpha()


def test_a_campaign_is_read_in_each_form() -> None:
    v5 = read_campaign(received({"id": "c1", "basic_details": {"name": "Sale"}, "channel": "PUSH"}))
    v1 = read_campaign(received({"campaign_id": "c1", "name": "Sale", "channel": "PUSH"}))

    assert v5 is not None
    assert v5 == v1
    assert read_campaign(received({"name": "Sale"})) is None
