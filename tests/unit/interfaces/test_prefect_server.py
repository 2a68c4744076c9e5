"""What is mended in Prefect's server."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from prefect.utilities.schema_tools import validation

from prefect_batch.interfaces.prefect_server import check_schemas_once

ENDPOINT = {"type": "object", "properties": {"deployment": {"type": "string"}}, "required": ["deployment"]}


def test_a_schema_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    validator: Any = validation._VALIDATOR
    check, checked = validator.check_schema, list[object]()

    def count(schema: object, **options: Any) -> None:
        checked.append(schema)
        check(schema, **options)

    monkeypatch.setattr(validator, "check_schema", count)
    check_schemas_once()
    for _ in range(3):
        validation.is_valid_schema(ENDPOINT)
        assert validation.validate({"deployment": "blue"}, ENDPOINT, raise_on_error=True) == []
        with pytest.raises(validation.ValidationError, match="'deployment' is a required property"):
            validation.validate({}, ENDPOINT, raise_on_error=True)
    assert len(checked) == 2  # with formats, and without
    wrong: Any = {"type": "objekt"}
    for _ in range(2):
        with pytest.raises(ValueError, match="Invalid schema"):
            validation.is_valid_schema(wrong)
        with pytest.raises(jsonschema.SchemaError):
            validation.validate({}, wrong, raise_on_error=True)
