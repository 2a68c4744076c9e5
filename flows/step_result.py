"""How a step ended: `steps/<step>/done.json` in its job's folder, and what a worker answers."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .locations import Location
from .pipeline_job import DataValue
from .pipeline_summary import COMPLETED

DONE = "done.json"


class StepOutput(BaseModel):
    """An output that is there."""

    location: Location
    """Of the folder, or of the file itself."""
    is_file: bool
    files: list[tuple[str, int | None]] = Field(default_factory=list[tuple[str, int | None]])
    """Names below the folder, or that of the file, and bytes where the storage tells them."""

    @property
    def value(self) -> DataValue:
        """As the input of another step."""
        return DataValue(
            given=self.location.given,
            location=self.location,
            is_folder=not self.is_file,
            is_empty=not self.is_file and not self.files,
        )


class StepResult(BaseModel):
    """How one step ended."""

    name: str
    state: str
    """Completed, Failed or Cancelled; as in pipeline_summary."""
    message: str = ""
    seconds: float = 0.0
    attempts: int = 0
    """How often the command was started, in this run of the job."""
    reused_from: str | None = None
    """The job whose output was taken instead of running the step again."""
    outputs: dict[str, StepOutput] = Field(default_factory=dict[str, StepOutput])

    @property
    def completed(self) -> bool:
        return self.state == COMPLETED

    @property
    def line(self) -> str:
        """For people: `step prepare: Completed in 1.2 s`, or what became of it else."""
        if self.reused_from is not None:
            return f"step {self.name}: taken from job {self.reused_from}"
        if self.completed:
            return f"step {self.name}: {self.state} in {self.seconds:.1f} s"
        return f"step {self.name}: {self.state}: {self.message}"
