"""The schedules and triggers of an endpoint, which Prefect keeps: with its deployment, and as automations that it owns.

What `endpoint.yml` says is brought about when the endpoint is made or made again, and only what it has a key for: those
that were made elsewhere (on the web page, by prefect.yaml, with `prefect-batch endpoint schedule`) else stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule

from ..blocks.endpoint import BatchEndpoint
from ..blocks.schedule import Schedule
from ..blocks.trigger import parse_trigger
from ..scoring.errors import AlreadyExists, InvalidDocument, NotFound
from .fitting import check_parameters
from .jobs import find_endpoint


def check_automation(client: SyncPrefectClient, endpoint: BatchEndpoint, default: str | None) -> None:
    """Check that what schedules and triggers call the endpoint with fits it. Raises InvalidDocument.

    Args:
        client: of the Prefect server.
        endpoint: as its document has it.
        default: the default deployment that it will have.
    """
    for schedule in endpoint.schedules or []:
        check_parameters(client, endpoint.name, default, schedule.parameters, f"schedules: {schedule.slug}")
    for number, trigger in enumerate(endpoint.triggers or [], 1):
        where = f"triggers: {trigger.get('name') or number}"
        check_parameters(client, endpoint.name, default, trigger.get("parameters") or {}, where)


def apply_automation(client: SyncPrefectClient, endpoint: BatchEndpoint) -> None:
    """Bring the schedules and triggers of a published endpoint in line with its document, where that has the key."""
    held = find_endpoint(client, endpoint.name)
    if endpoint.schedules is not None:
        _apply_schedules(client, held.id, endpoint.schedules)
    if endpoint.triggers is not None:
        _apply_triggers(client, held.id, endpoint.name, endpoint.triggers)


def _apply_schedules(client: SyncPrefectClient, deployment: UUID, wanted: Sequence[Schedule]) -> None:
    new = {schedule.slug: schedule for schedule in wanted}
    for held in client.read_deployment_schedules(deployment):
        schedule = new.pop(held.slug, None)
        if schedule is None:
            client.delete_deployment_schedule(deployment, held.id)
            continue
        client.update_deployment_schedule(
            deployment,
            held.id,
            active=schedule.active,
            schedule=schedule.timing(),
            parameters=schedule.parameters,
        )
    if new:
        client.create_deployment_schedules(deployment, [schedule.to_prefect() for schedule in new.values()])


def _apply_triggers(
    client: SyncPrefectClient, deployment: UUID, endpoint: str, wanted: Sequence[dict[str, Any]]
) -> None:
    """Replace the automations that the deployment owns, as `prefect deploy` does."""
    remove_triggers(client, deployment)
    for number, given in enumerate(wanted, 1):
        trigger = parse_trigger({"name": f"{endpoint}__automation_{number}"} | given)
        trigger.set_deployment_id(deployment)
        client.create_automation(trigger.as_automation())


def remove_triggers(client: SyncPrefectClient, deployment: UUID) -> None:
    """Delete the automations that a deployment owns: Prefect leaves them behind when it is deleted."""
    client.delete_resource_owned_automations(f"prefect.deployment.{deployment}")


def list_schedules(client: SyncPrefectClient, endpoint: str) -> list[DeploymentSchedule]:
    """The schedules of an endpoint, wherever they were made, by slug. Raises NotFound."""
    return sorted(client.read_deployment_schedules(find_endpoint(client, endpoint).id), key=name_of)


def name_of(schedule: DeploymentSchedule) -> str:
    """What a schedule is called: its slug, or the id of one that has none."""
    return schedule.slug or str(schedule.id)


def create_schedule(client: SyncPrefectClient, endpoint: str, default: str | None, schedule: Schedule) -> str:
    """Add a schedule to an endpoint; returns its slug.

    Raises NotFound, AlreadyExists for a slug that is taken, InvalidDocument for parameters that do not fit.
    """
    deployment = find_endpoint(client, endpoint).id
    taken = {held.slug for held in client.read_deployment_schedules(deployment)}
    numbers = (f"schedule-{number}" for number in range(1, len(taken) + 2))
    slug = schedule.slug or next(free for free in numbers if free not in taken)
    if slug in taken:
        raise AlreadyExists(f"endpoint {endpoint!r} has a schedule {slug!r}: delete it first, or choose another --slug")
    check_parameters(client, endpoint, default, schedule.parameters, f"schedule {slug}")
    client.create_deployment_schedules(deployment, [schedule.model_copy(update={"slug": slug}).to_prefect()])
    return slug


def delete_schedule(client: SyncPrefectClient, endpoint: str, slug: str) -> None:
    """Delete a schedule, and the runs that it has planned. Raises NotFound."""
    found = _find(client, endpoint, slug)
    client.delete_deployment_schedule(_deployment_of(found), found.id)


def set_active(client: SyncPrefectClient, endpoint: str, slug: str, active: bool) -> None:
    """Pause a schedule, or let it go on. Raises NotFound."""
    found = _find(client, endpoint, slug)
    client.update_deployment_schedule(_deployment_of(found), found.id, active=active)


def misfit(
    client: SyncPrefectClient, endpoint: str, default: str | None, schedule: DeploymentSchedule
) -> InvalidDocument | None:
    """Why the calls of a schedule would be refused: its endpoint may have changed since it was made."""
    try:
        check_parameters(client, endpoint, default, schedule.parameters, name_of(schedule))
    except InvalidDocument as error:
        return error
    return None


def _deployment_of(schedule: DeploymentSchedule) -> UUID:
    assert schedule.deployment_id is not None  # the server always names it
    return schedule.deployment_id


def _find(client: SyncPrefectClient, endpoint: str, slug: str) -> DeploymentSchedule:
    held = list_schedules(client, endpoint)
    for schedule in held:
        if slug == name_of(schedule):
            return schedule
    known = ", ".join(map(name_of, held)) or "none"
    raise NotFound(f"endpoint {endpoint!r} has no schedule {slug!r} (it has: {known})")
