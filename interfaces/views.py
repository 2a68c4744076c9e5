"""What is stored, and jobs, as scripts read them: with Azure ML's keys where that has the thing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..flows.job_status import status_of

if TYPE_CHECKING:
    from prefect.blocks.core import Block
    from prefect.client.schemas.objects import FlowRun

    from ..blocks.compute import ComputeCluster
    from ..blocks.datastore import Datastore
    from ..blocks.deployment import Deployment
    from ..blocks.endpoint import BatchEndpoint
    from ..blocks.places import Ledger
    from ..blocks.versions import Versioned
    from ..flows.costs import Cost
    from ..flows.pipeline_job import AnyJob
    from ..flows.pipeline_summary import PipelineSummary
    from ..flows.summary import Summary

EXPERIMENT_TAG = "experiment:"


def keys_of(block: Block, exclude: set[str] | None = None) -> dict[str, Any]:
    """Its fields, as JSON has them."""
    return block.model_dump(mode="json", exclude={"block_type_slug"} | (exclude or set()))


def of_endpoint(endpoint: BatchEndpoint, deployments: Iterable[str]) -> dict[str, Any]:
    """`id` is what Prefect's `deployment run` takes."""
    return {
        "id": f"endpoint/{endpoint.name}",
        **keys_of(endpoint, {"schedules", "triggers"}),
        "deployments": list(deployments),
    }


def of_deployment(deployment: Deployment) -> dict[str, Any]:
    """One version of a deployment."""
    return {"id": f"{deployment.endpoint_name}/{deployment.name}", **keys_of(deployment)}


def of_compute(compute: ComputeCluster, held: Ledger | None = None) -> dict[str, Any]:
    """`id` is what a deployment's `compute` takes. `held`: who has instances of it, for one with a bound."""
    about = {"id": f"azureml:{compute.name}", **keys_of(compute)}
    if held is None:
        return about
    return about | {
        "instances_in_use": sum(holder.instances for holder in held.holders),
        "instances_kept": sum(kept.instances for kept in held.kept if kept.job is None),
        "jobs": [{"id": holder.job, "instances": holder.instances} for holder in held.holders],
        "jobs_waiting": [
            {"id": waiter.job, "instances": waiter.instances, "since": waiter.since.isoformat()} for waiter in held.line
        ],
    }


def of_datastore(datastore: Datastore, default: bool) -> dict[str, Any]:
    """Of its credentials only which are set. What its `id` and `/paths/PATH` make is a place."""
    return {
        "id": f"azureml://datastores/{datastore.name}",
        **keys_of(datastore, {"credentials"}),
        "credentials": datastore.credential_names(),
        "default": default,
    }


def of_version(one: Versioned) -> dict[str, Any]:
    """`id` is what means this version wherever one is named."""
    return {"id": one.label, **keys_of(one)}


def of_job(
    run: FlowRun, url: str | None, record: AnyJob | None = None, summary: Summary | PipelineSummary | None = None
) -> dict[str, Any]:
    """A job.

    Args:
        run: its flow run.
        url: its page in the UI.
        record: what it was resolved to, once it is known.
        summary: how it ended, once it has.
    """
    endpoint = run.parameters.get("endpoint")
    experiments = [tag.removeprefix(EXPERIMENT_TAG) for tag in run.tags if tag.startswith(EXPERIMENT_TAG)]
    values: dict[str, Any] = {
        "id": str(run.id),
        "name": str(run.id),
        "display_name": run.name,
        "status": status_of(run),
        "message": run.state.message if run.state else None,
        "endpoint_name": endpoint,
        "deployment_name": run.parameters.get("deployment"),
        "experiment_name": experiments[0] if experiments else endpoint,
        "inputs": run.parameters.get("inputs") or {},
        "outputs": run.parameters.get("outputs") or {},
        "settings": run.parameters.get("settings") or {},
        "creation_context": {"created_at": run.created, "created_by": run.parameters.get("caller")},
        "start_time": run.start_time,
        "end_time": run.end_time,
        "services": {"Studio": {"endpoint": url}},
    }
    if record is not None:
        values |= _of_record(record)
    if summary is not None:
        values |= _of_summary(asdict(summary), values["outputs"])
    return values


def of_cost(cost: Cost) -> dict[str, Any]:
    """What jobs have cost: of one job, or of an endpoint on a day. Money is by currency."""
    bill = cost.bill
    return {
        "endpoint_name": cost.endpoint,
        "day": cost.day,
        "job": cost.job,
        "jobs": cost.jobs,
        "instance_seconds": round(bill.instance_seconds, 3),
        "busy_seconds": round(bill.busy_seconds, 3),
        "utilisation": bill.utilisation,
        "queued_seconds": round(bill.queued_seconds, 3),
        "nodes_lost": bill.nodes_lost,
        "cost": {currency: round(amount, 6) for currency, amount in bill.money.items()},
    }


def _of_summary(summary: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, str] = summary.pop("outputs", {})
    steps: list[dict[str, Any]] = summary.pop("steps", [])
    summary.pop("inputs", None)
    return {
        "outputs": outputs | {name: {"path": place} for name, place in made.items()},
        "summary": summary,
        "steps": steps,
    }


def _of_record(record: AnyJob) -> dict[str, Any]:
    from ..flows.job import OUTPUT_NAME, Job
    from ..flows.pipeline_job import DataValue

    values: dict[str, Any] = {
        "deployment_name": record.deployment.name,
        "deployment_version": record.deployment.version,
    }
    if isinstance(record, Job):
        values |= {
            "inputs": {"data": {"path": record.input.url}},
            "outputs": {OUTPUT_NAME: {"path": record.output.url}},
        }
    else:
        values["inputs"] = {
            name: {"path": value.location.url} if isinstance(value, DataValue) else value
            for name, value in record.inputs.items()
        }
        values["outputs"] = {name: {"path": place.location.url} for name, place in record.outputs.items()}
    return values | {"type": record.deployment.type, "caller": record.caller, "job_folder": record.folder.url}
