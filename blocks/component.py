"""Components as they are stored: a command with its inputs, outputs and code, or a pipeline of steps that run such.

Keys are Azure ML's (commandComponent, pipelineComponent). A stored pipeline is whole: each step holds its component and
that its code, so that neither an edit nor a newer version of a component changes what a deployment runs.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .documents import Text
from .interface import Inputs, InputSpec, Interface, Literals, Outputs, OutputSpec
from .settings import Document, InstanceCount, MaxRetries
from .snapshot import Snapshot
from .versions import Versioned

_COMPONENT = re.compile(r"[a-z][a-z0-9_]{0,254}")
_STEP = re.compile(r"[a-z_][a-z0-9_]*")


def _check_component(value: str) -> str:
    if not _COMPONENT.fullmatch(value):
        raise ValueError("must be lower-case letters, digits and underscores, starting with a letter")
    return value


def _check_step(value: str) -> str:
    if not _STEP.fullmatch(value) or len(value) > 255:
        raise ValueError("must be lower-case letters, digits and underscores, starting with no digit")
    return value


ComponentName = Annotated[str, AfterValidator(_check_component)]
StepName = Annotated[str, AfterValidator(_check_step)]


class StepRetrySettings(Document):
    """How often a step is tried, and for how long.

    A step that was killed, took too long or lost its machine is tried again; one that exited with an error only where
    its retry_settings stand in the document.
    """

    max_retries: MaxRetries = 3
    timeout: float | None = Field(default=None, gt=0, description="Seconds that one attempt may take.")


class StepResources(Document):
    """`resources:` of a step or a component; recorded, and of no effect on a command that runs once."""

    instance_count: InstanceCount | None = None
    instance_type: str | list[str] | None = None
    properties: dict[str, Any] | None = None
    locations: list[str] | None = None
    shm_size: str | None = None
    docker_args: str | list[str] | None = None


class Limits(Document):
    """`limits:`; timeout in seconds, as retry_settings.timeout."""

    timeout: float | None = Field(default=None, gt=0)


class _Described(Document):
    name: str | None = None
    version: Text | None = None
    display_name: str | None = None
    description: str | None = None
    tags: dict[str, Text] = Field(default_factory=dict)


class CommandComponent(_Described):
    """A command, what it takes and what it gives."""

    type: Literal["command"] = "command"
    inputs: Inputs = Field(default_factory=dict[str, InputSpec])
    outputs: Outputs = Field(default_factory=dict[str, OutputSpec])
    code: str | None = Field(default=None, description="A folder: what the command is started in a copy of.")
    code_snapshot: Snapshot | None = None
    environment: str | dict[str, Any] | None = None
    environment_variables: dict[str, Text] = Field(default_factory=dict)
    command: str
    is_deterministic: bool = True
    resources: StepResources | None = None
    distribution: dict[str, Any] | None = None
    limits: Limits | None = None
    retry_settings: StepRetrySettings | None = None


class Asset(Document):
    """A fixed asset as a step's input, or a value with its type."""

    type: str | None = None
    path: str | None = None
    mode: str | None = None
    value: Literals | None = None


class OutputBinding(Document):
    """A step's output: where it goes."""

    type: str | None = None
    mode: str | None = None
    path: str | None = Field(default=None, description="`${{parent.outputs.y}}`, or a place with keywords in it.")


def _output(value: Any) -> Any:
    return {} if value is None else {"path": value} if isinstance(value, str) else value


class Step(Document):
    """One step of a pipeline: a component, and what its inputs and outputs are bound to."""

    type: Literal["command"] = "command"
    component: CommandComponent
    inputs: dict[str, Asset | Literals | None] = Field(default_factory=dict)
    outputs: dict[str, Annotated[OutputBinding, BeforeValidator(_output)]] = Field(default_factory=dict)
    compute: str | None = None
    resources: StepResources | None = None
    environment: str | dict[str, Any] | None = None
    environment_variables: dict[str, Text] = Field(default_factory=dict)
    identity: dict[str, Any] | None = None
    limits: Limits | None = None
    retry_settings: StepRetrySettings | None = None
    display_name: str | None = None
    description: str | None = None

    @property
    def timeout(self) -> float | None:
        """Seconds that one attempt may take; the step's own word counts before its component's."""
        given = (self.retry_settings, self.limits, self.component.retry_settings, self.component.limits)
        return next((found.timeout for found in given if found is not None and found.timeout is not None), None)

    @property
    def retries(self) -> StepRetrySettings | None:
        """What the document says on retries, or None."""
        return self.retry_settings or self.component.retry_settings


class PipelineComponent(_Described):
    """A pipeline: what it takes, what it gives, and its steps."""

    type: Literal["pipeline"] = "pipeline"
    inputs: Inputs = Field(default_factory=dict[str, InputSpec])
    outputs: Outputs = Field(default_factory=dict[str, OutputSpec])
    jobs: dict[StepName, Step]

    @property
    def interface(self) -> Interface:
        return Interface(inputs=self.inputs, outputs=self.outputs)


class Component(Versioned):
    """One version of a registered component. Immutable: a change makes a new version."""

    _block_type_name = "Batch Component"
    _block_type_slug = "batch-component"
    what: ClassVar[str] = "component"
    group: ClassVar[str] = "component"

    name: ComponentName
    type: Literal["command", "pipeline"]
    description: str | None = None
    definition: dict[str, Any] = Field(description="The whole component, of its type.")

    @property
    def component(self) -> CommandComponent | PipelineComponent:
        kind = CommandComponent if self.type == "command" else PipelineComponent
        return kind.model_validate(self.definition)
