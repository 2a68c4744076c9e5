"""The command `prefect-batch`."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, cast, get_args

from cyclopts import App, CycloptsError, Group, Parameter, Token

from . import mistakes, overrides, terminal
from .cli_call import invoke, run
from .formats import Format, Wanted

app = App(
    name="prefect-batch",
    help="Batch endpoints on Prefect: score a lot of data, later, cheaply and safely.\n\n"
    "Example: prefect-batch invoke heart --input data/ --stream",
    help_format="plaintext",
    version_flags=["--version"],
    default_parameter=Parameter(show_default=lambda value: value or None),
)
# By name: a group is imported when it is called, so that no command waits for what another needs.
_GROUPS = {
    "endpoint": ("cli_endpoint:app", "Make, show, change, call and delete endpoints."),
    "deployment": ("cli_deployment:app", "Make, show, change and delete the deployments of an endpoint."),
    "watch": (
        "cli_watch:app",
        "Call an endpoint for the files that arrive at a place, once for each, also after a restart.\n\n"
        "Example: prefect-batch watch lake:incoming/ --endpoint heart --include '*.csv'",
    ),
    "job": ("cli_job:app", "List, show, follow, cancel, resume and download jobs."),
    "compute": ("cli_compute:app", "Make, show, change and delete compute clusters."),
    "datastore": ("cli_datastore:app", "Make, show and delete datastores, and choose the default."),
    "data": ("cli_data:app", "Make, show and archive data assets."),
    "model": ("cli_model:app", "Register and show models in MLflow's registry."),
    "component": ("cli_component:app", "Register, show and archive components, of which pipelines are made."),
    "environment": ("cli_environment:app", "Make, show, build and archive environments."),
    "principal": ("cli_principal:app", "Say what callers may do, and which datastores they may use."),
    "token": ("cli_token:app", "Make, list and revoke API keys for the REST gateway."),
    "serve": (
        "cli_serve:app",
        "Serve the REST gateway: endpoints for callers who speak HTTP.\n\n"
        "Example: prefect-batch serve --host 0.0.0.0 --auth auth.yml --certificate tls.crt --key tls.key",
    ),
    "server": ("cli_server:app", "A Prefect server on this machine, with a worker that runs jobs."),
    "worker": ("cli_server:worker_app", "A worker that runs the jobs of a server elsewhere."),
}
_AS_AZ = "batch-"
for _name, (_where, _help) in _GROUPS.items():
    _names = [_name, f"{_AS_AZ}{_name}"] if _name in ("endpoint", "deployment") else [_name]
    app.command(f"{__package__}.{_where}", name=_names, help=_help)
app.command(invoke)
app.command(run)
app.register_install_completion_command()  # pyright: ignore[reportUnknownMemberType]

_EVERY = Group("Every command", sort_key=100)
_Ignored = Annotated[str | None, Parameter(show=False)]
_IgnoredFlag = Annotated[bool, Parameter(show=False, negative=())]


def _format(kind: object, tokens: Sequence[Token]) -> Format:
    (token,) = tokens
    if token.value not in get_args(Format):
        raise ValueError(
            f"{token.value!r} is no format: write one of {', '.join(get_args(Format))}; "
            "the place of a job's outputs is --output-path"
        )
    return cast("Format", token.value)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    output: Annotated[
        Format | None,
        Parameter(
            name=["--output", "-o"],
            env_var="PREFECT_BATCH_OUTPUT",
            converter=_format,
            group=_EVERY,
            help="Format of the result; by default for people, and json after batch-endpoint and batch-deployment.",
        ),
    ] = None,
    query: Annotated[str | None, Parameter(group=_EVERY, help="JMESPath: what of the result to show.")] = None,
    debug: Annotated[bool, Parameter(group=_EVERY, negative=(), help="Show where an error comes from.")] = False,
    resource_group: Annotated[str | None, Parameter(name=["--resource-group", "-g"], show=False)] = None,
    workspace_name: Annotated[str | None, Parameter(name=["--workspace-name", "-w"], show=False)] = None,
    subscription: _Ignored = None,
    no_wait: _IgnoredFlag = False,
    skip_script_validation: _IgnoredFlag = False,
    verbose: _IgnoredFlag = False,
    only_show_errors: _IgnoredFlag = False,
) -> None:
    """Take the options of every command off its line; those that az has and that mean nothing here are dropped."""
    if output is None and query is None and tokens and tokens[0].startswith(_AS_AZ):
        output = "json"  # as az: scripts that read a result expect it
    terminal.want(Wanted(output, query))
    app(tokens, exit_on_error=False, print_error=False, result_action="return_value")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a mistake is one line on stderr and exit code 1, one of usage 2."""
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's notice on telemetry would stand between our lines
    given = overrides.spread(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            app.meta(given, exit_on_error=False, print_error=False, result_action="return_value")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except CycloptsError as error:
        terminal.note(f"Error: {mistakes.of_usage(error, app.name[0])}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if "--debug" in given:
            traceback.print_exception(error)
        terminal.note(f"Error: {mistakes.explained(error)}")
        sys.exit(1)
