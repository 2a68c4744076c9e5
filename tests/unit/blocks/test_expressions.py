"""The grammar of expressions: render, parse, resolve, and that nothing else gets through."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_batch.blocks.expressions import (
    Expression,
    InputRef,
    Keyword,
    OutputRef,
    ParentInput,
    ParentOutput,
    StepInput,
    StepOutput,
    expressions,
    parse,
    render,
    resolve,
    single,
)
from prefect_batch.scoring.errors import InvalidDocument

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
EXPRESSIONS: st.SearchStrategy[Expression] = st.one_of(
    st.builds(InputRef, NAMES),
    st.builds(OutputRef, NAMES),
    st.builds(ParentInput, NAMES),
    st.builds(ParentOutput, NAMES),
    st.builds(StepOutput, NAMES, NAMES),
    st.builds(StepInput, NAMES, NAMES),
    st.builds(Keyword, st.sampled_from(["default_datastore", "name", "output_name"])),
)
# Much of what could be taken for an expression, and nothing that begins one.
LITERALS = st.text(alphabet=st.sampled_from("ab $[]}'\"\\\n.é🫀inputs")) | st.text()
TEXTS = LITERALS.filter(lambda text: text and "${{" not in text)
SPACES = st.text(alphabet=" \t\n", max_size=3)


@st.composite
def templates(draw: st.DrawFn) -> list[str | Expression]:
    """Parts as parse() gives them: no two texts side by side."""
    parts: list[str | Expression] = []
    for part in draw(st.lists(st.one_of(TEXTS, EXPRESSIONS), max_size=6)):
        if not (isinstance(part, str) and parts and isinstance(parts[-1], str)):
            parts.append(part)
    return parts


@settings(max_examples=300)
@given(templates())
def test_what_was_rendered_is_parsed_as_it_was(parts: list[str | Expression]) -> None:
    assert parse(render(parts)) == parts


@settings(max_examples=200)
@given(EXPRESSIONS, SPACES, SPACES)
def test_white_space_at_the_ends(expression: Expression, before: str, after: str) -> None:
    text = f"${{{{{before}{expression.body}{after}}}}}"
    assert single(text) == expression
    assert re.fullmatch(r"\$\{\{\s*(\S*?)\s*\}\}", text), "the pattern that Azure's SDK finds expressions with"


@settings(max_examples=200)
@given(templates(), st.text())
def test_resolving_puts_each_value_where_its_expression_stands(parts: list[str | Expression], value: str) -> None:
    expected = "".join(part if isinstance(part, str) else f"<{part.body}{value}>" for part in parts)
    assert resolve(parts, lambda expression: f"<{expression.body}{value}>") == expected


@settings(max_examples=200)
@given(templates().filter(expressions), st.data())
def test_nothing_undefined_gets_through(parts: list[str | Expression], data: st.DataObject) -> None:
    undefined = data.draw(st.sampled_from(expressions(parts)))
    values = {expression: "x" for expression in expressions(parts) if expression != undefined}
    with pytest.raises(InvalidDocument, match=re.escape(f"{undefined} names nothing")):
        resolve(parts, lambda expression: values[expression])


@settings(max_examples=300)
@given(st.text(alphabet=st.sampled_from(list("inputs.par e_jobx}{$\n"))) | st.text())
def test_what_is_no_expression_is_refused(body: str) -> None:
    """Whatever stands in braces is one of the seven forms, or an error: never literal text."""
    try:
        parts = parse(f"${{{{{body}}}}}")
    except InvalidDocument:
        return
    first = parts[0]
    assert not isinstance(first, str)
    assert str(first).count("${{") == 1


@pytest.mark.parametrize(
    "text",
    [
        "${{ inputs.a b }}",
        "${{foo.x}}",
        "${{inputs.}}",
        "${{}}",
        "${{inputs}}",
        "${{inputs.x.path}}",
        "${{inputs.1x}}",
        "${{inputs.ä}}",
        "${{Inputs.x}}",
        "${{parent.x}}",
        "${{parent.jobs.s}}",
        "${{parent.jobs.s.outputs}}",
        "${{parent.jobs.a-b.outputs.o}}",
        "${{jobs.s.outputs.o}}",
        "${{ parent . inputs.x }}",
        "${{datastore}}",
        "${{search_space.x}}",
        "${{${{inputs.x}}}}",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(InvalidDocument, match="is not an expression: write one of") as error:
        parse(f"before {text} after")
    assert text.removesuffix("}}").rstrip() in str(error.value), "it names the expression"


@pytest.mark.parametrize("text", ["${{", "a ${{inputs.x", "${{inputs.x}", "${{inputs.x}} ${{inputs.y"])
def test_unclosed(text: str) -> None:
    with pytest.raises(InvalidDocument, match="is not closed"):
        parse(text)


def test_what_only_looks_like_an_expression_is_text() -> None:
    for text in ("", "$HOME", "${x}", "{{inputs.x}}", "$ {{inputs.x}}", "}} {{"):
        assert parse(text) == ([text] if text else [])


@pytest.mark.parametrize("text", ["", "x", "${{inputs.x}}y", "${{inputs.x}}${{inputs.y}}"])
def test_more_or_less_than_one(text: str) -> None:
    assert single(text) is None


def test_a_value_is_not_looked_at_for_expressions() -> None:
    assert resolve(parse("a/${{name}}"), lambda _: "${{output_name}}") == "a/${{output_name}}"
