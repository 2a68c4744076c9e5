"""`schedules:` and `triggers:` of endpoint.yml, as they are read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from prefect_batch.blocks.documents import validate
from prefect_batch.blocks.endpoint import BatchEndpoint
from prefect_batch.blocks.schedule import timing_text
from prefect_batch.scoring.errors import InvalidDocument


def read(**keys: Any) -> BatchEndpoint:
    return validate(BatchEndpoint, {"name": "heart", **keys}, "endpoint.yml", set(BatchEndpoint.model_fields))


@pytest.mark.parametrize(
    ("keys", "kind", "text"),
    [
        ({"cron": "0 6 * * *", "timezone": "Europe/Berlin"}, CronSchedule, "cron 0 6 * * * Europe/Berlin"),
        ({"interval": 900}, IntervalSchedule, "every 0:15:00"),
        ({"interval": "PT1H", "anchor_date": "2026-01-01T00:30:00Z"}, IntervalSchedule, "every 1:00:00"),
        ({"rrule": "FREQ=MONTHLY;BYDAY=-1FR"}, RRuleSchedule, "rrule FREQ=MONTHLY;BYDAY=-1FR UTC"),
    ],
)
def test_kinds(keys: dict[str, Any], kind: type, text: str):
    (schedule,) = read(schedules=[keys]).schedules or []
    made = schedule.to_prefect()
    assert isinstance(made.schedule, kind)
    assert (made.active, made.slug, timing_text(made.schedule)) == (True, "schedule-1", text)


def test_an_anchor_is_kept():
    (schedule,) = read(schedules=[{"interval": 60, "anchor_date": "2026-01-01T00:00:30Z"}]).schedules or []
    timing = schedule.timing()
    assert isinstance(timing, IntervalSchedule)
    assert (timing.interval, timing.anchor_date.second) == (timedelta(minutes=1), 30)


@pytest.mark.parametrize(
    ("schedules", "said"),
    [
        ([{}], "one of cron, interval and rrule is needed, not none"),
        ([{"cron": "0 6 * * *", "interval": 60}], "not cron and interval"),
        ([{"cron": "often"}], "cron: "),
        ([{"cron": "0 6 * * *", "timezone": "Mars/Crater"}], "timezone: "),
        ([{"interval": 0}], "interval: "),
        ([{"rrule": "FREQ=NEVER"}], "rrule: "),
        ([{"cron": "0 6 * * *", "anchor_date": "2026-01-01"}], "anchor_date goes with interval only"),
        ([{"cron": "0 6 * * *", "parameter": {}}], "did you mean parameters?"),
        ([{"cron": "0 6 * * *", "slug": "a b"}], "slug"),
        ([{"cron": "0 6 * * *", "slug": "one"}, {"interval": 60, "slug": "one"}], "two of them have the slug 'one'"),
    ],
)
def test_bad_schedules(schedules: list[dict[str, Any]], said: str):
    with pytest.raises(InvalidDocument) as error:
        read(schedules=schedules)
    assert str(error.value).startswith("endpoint.yml: schedules")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({"expct": ["a"]}, "did you mean expect?"),
        ({"expect": ["a"], "threshold": "many"}, "threshold"),
        ({"type": "sequence", "triggers": [{"expect": ["a"]}, {"expectt": ["b"]}]}, "did you mean expect?"),
        ({"expect": ["a"], "parameters": {"inputs": {"data": "{{ event.payload"}}}, "is not a template"),
    ],
)
def test_bad_triggers(trigger: dict[str, Any], said: str):
    with pytest.raises(InvalidDocument, match=r"endpoint\.yml: triggers") as error:
        read(triggers=[trigger])
    assert said in str(error.value)


def test_a_trigger_stays_as_it_was_written():
    trigger = {"expect": ["s3.created"], "match": {"prefect.resource.id": "s3://in/*"}, "within": 60}
    assert read(triggers=[trigger]).triggers == [trigger]
