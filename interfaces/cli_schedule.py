"""`prefect-batch endpoint schedule`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter
from prefect.client.schemas.objects import DeploymentSchedule

from ..blocks import store
from ..blocks.documents import validate
from ..blocks.endpoint import BatchEndpoint
from ..blocks.schedule import Schedule, timing_text
from ..flows import automation
from . import overrides, terminal
from .call import bring_within_reach, interface_of, load_call, reader, request
from .cli_options import Deployment, Exclude, Include, Input, InputsFile, InputType, Set

app = App(name="schedule", help="Make, list, pause, resume and delete the schedules of an endpoint.")

EndpointName = Annotated[str, Parameter(name=["--endpoint", "--endpoint-name", "-e"], help="Name of the endpoint.")]
Slug = Annotated[str, Parameter(name=["--slug", "--name", "-n"], help="Of the schedule.")]


@app.command(name="create")
def schedule_create(
    endpoint: EndpointName,
    *,
    slug: Annotated[str | None, Parameter(name=["--slug", "--name", "-n"], help="A name for it.")] = None,
    cron: Annotated[str | None, Parameter(help="As in '0 6 * * *'.")] = None,
    interval: Annotated[str | None, Parameter(help="Seconds, or as in 01:30:00 or PT1H.")] = None,
    rrule: Annotated[str | None, Parameter(help="As in 'FREQ=MONTHLY;BYDAY=-1FR'.")] = None,
    timezone: Annotated[str | None, Parameter(help="As in Europe/Berlin; by default UTC.")] = None,
    anchor_date: Annotated[str | None, Parameter(help="From when an interval counts.")] = None,
    paused: Annotated[bool, Parameter(help="It begins with `schedule resume`.", negative=())] = False,
    input: Input = [],  # noqa: B006
    input_type: InputType = None,
    include: Include = [],  # noqa: B006
    exclude: Exclude = [],  # noqa: B006
    deployment: Deployment = None,
    file: InputsFile = None,
    set: Set = [],  # noqa: B006
) -> None:
    """Call an endpoint again and again, as `invoke` would with the same options; prints the schedule's slug.

    Example: prefect-batch endpoint schedule create heart --cron "0 6 * * *" --timezone Europe/Berlin --input lake:new/
    """
    keys = ("slug", "cron", "interval", "rrule", "timezone", "anchor_date")
    values = (slug, cron, interval, rrule, timezone, anchor_date)
    when: dict[str, Any] = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
    if interval is not None and interval.replace(".", "", 1).isdigit():
        when["interval"] = float(interval)
    schedule = validate(Schedule, when | {"active": not paused}, "schedule")
    name = endpoint.lower()
    with store.api() as client:
        interface = interface_of(client, name, deployment)
        given = overrides.parse(set, load_call(file) if file else {}, reader(interface))
        parameters = request(given, input, input_type, include, exclude, None, interface)
        bring_within_reach(parameters, None, interface)  # data is found when the job runs: nothing is uploaded
        parameters |= {"deployment": deployment.lower()} if deployment else {}
        default = store.load(BatchEndpoint, name, client).defaults.deployment_name
        made = automation.create_schedule(client, name, default, schedule.model_copy(update={"parameters": parameters}))
    terminal.result(made, {"name": made, "endpoint_name": name, "parameters": parameters, "active": not paused})


@app.command(name="list")
def schedule_list(endpoint: EndpointName) -> None:
    """List the schedules of an endpoint, wherever they were made, and what is wrong with them.

    Example: prefect-batch endpoint schedule list heart
    """
    with store.api() as client:
        default = store.load(BatchEndpoint, endpoint.lower(), client).defaults.deployment_name
        found = automation.list_schedules(client, endpoint.lower())
        wrong = [automation.misfit(client, endpoint.lower(), default, schedule) for schedule in found]
    rows = [
        (automation.name_of(held), timing_text(held.schedule), "yes" if held.active else "no", error)
        for held, error in zip(found, wrong, strict=True)
    ]
    data = [_data(held, error) for held, error in zip(found, wrong, strict=True)]
    terminal.table(("SLUG", "WHEN", "ACTIVE", "PROBLEM"), rows, data)


def _data(schedule: DeploymentSchedule, error: Exception | None) -> dict[str, Any]:
    return {
        "name": automation.name_of(schedule),
        "schedule": schedule.schedule.model_dump(mode="json"),
        "active": schedule.active,
        "parameters": schedule.parameters,
        "problem": str(error) if error else None,
    }


@app.command(name="pause")
def schedule_pause(endpoint: EndpointName, slug: Slug) -> None:
    """Let a schedule make no more jobs until it is resumed.

    Example: prefect-batch endpoint schedule pause heart nightly
    """
    with store.api() as client:
        automation.set_active(client, endpoint.lower(), slug, False)


@app.command(name="resume")
def schedule_resume(endpoint: EndpointName, slug: Slug) -> None:
    """Let a paused schedule go on.

    Example: prefect-batch endpoint schedule resume heart nightly
    """
    with store.api() as client:
        automation.set_active(client, endpoint.lower(), slug, True)


@app.command(name="delete")
def schedule_delete(endpoint: EndpointName, slug: Slug) -> None:
    """Delete a schedule and the jobs that it has planned.

    Example: prefect-batch endpoint schedule delete heart nightly
    """
    with store.api() as client:
        automation.delete_schedule(client, endpoint.lower(), slug)
