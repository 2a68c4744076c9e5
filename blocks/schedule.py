"""Schedules of an endpoint: when Prefect calls it by itself, with which parameters. In the shape of prefect.yaml."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import AfterValidator, Field, ValidationError, model_validator

from .settings import Document

_ONLY_WITH = {"anchor_date": "interval", "day_or": "cron"}


class Schedule(Document):
    """One of an endpoint's schedules."""

    cron: str | None = None
    interval: timedelta | None = Field(default=None, description="Seconds, `01:30:00` or ISO 8601, as in `PT1H`.")
    rrule: str | None = None
    timezone: str | None = None
    anchor_date: datetime | None = None
    day_or: bool | None = None
    active: bool | None = Field(default=None, description="Not given: a new one is, an old one stays as it is.")
    slug: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,99}$")] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _of_one_kind(self) -> Schedule:
        kinds = [kind for kind in ("cron", "interval", "rrule") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            given = " and ".join(kinds)
            raise ValueError(f"one of cron, interval and rrule is needed, not {given or 'none'}")
        for key, kind in _ONLY_WITH.items():
            if getattr(self, key) is not None and kind != kinds[0]:
                raise ValueError(f"{key} goes with {kind} only")
        try:
            self.timing()
        except ValidationError as error:
            first = error.errors()[0]
            about = ".".join(map(str, first["loc"])) or kinds[0]
            raise ValueError(f"{about}: {first['msg'].removeprefix('Value error, ')}") from None
        return self

    def timing(self) -> CronSchedule | IntervalSchedule | RRuleSchedule:
        """When it is due, as Prefect has it."""
        keys = ("cron", "interval", "rrule", "timezone", "anchor_date", "day_or")
        given = {key: value for key in keys if (value := getattr(self, key)) is not None}
        kind = CronSchedule if self.cron is not None else RRuleSchedule if self.rrule is not None else IntervalSchedule
        return kind.model_validate(given)

    def to_prefect(self) -> DeploymentScheduleCreate:
        """As Prefect takes a new one."""
        return DeploymentScheduleCreate(
            schedule=self.timing(), active=self.active is not False, parameters=self.parameters, slug=self.slug
        )


def _slugs(schedules: list[Schedule]) -> list[Schedule]:
    """Give each a slug, by which it is found again: those without are numbered."""
    for number, schedule in enumerate(schedules, 1):
        schedule.slug = schedule.slug or f"schedule-{number}"
    slugs = [schedule.slug for schedule in schedules]
    if doubled := next((slug for slug in slugs if slugs.count(slug) > 1), None):
        raise ValueError(f"two of them have the slug {doubled!r}: each needs one of its own")
    return schedules


Schedules = Annotated[list[Schedule], AfterValidator(_slugs)]
"""`schedules:` of an endpoint."""


def timing_text(timing: Any) -> str:
    """When one that Prefect holds is due, for people: `cron 0 6 * * * Europe/Berlin`."""
    if isinstance(timing, IntervalSchedule):
        return f"every {timing.interval}"
    if isinstance(timing, CronSchedule):
        return " ".join(filter(None, ["cron", timing.cron, timing.timezone]))
    rule = str(getattr(timing, "rrule", "")).rpartition("\n")[2]  # Prefect puts a DTSTART in front
    return f"rrule {rule} {getattr(timing, 'timezone', '')}"
