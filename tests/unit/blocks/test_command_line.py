"""The command of a component: its optional parts, and that no value is ever read by a shell.

Commands are run, both ways: without a shell, and in one.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prefect_batch.blocks import command_line
from prefect_batch.blocks.command_line import Rendered, as_argument, parse_command
from prefect_batch.blocks.expressions import InputRef, OutputRef
from prefect_batch.scoring.errors import InvalidDocument

ARGUMENTS = "printf '%s\\0'"  # what writes its arguments down
NASTY = [
    '"; rm -rf ~; echo "',
    "'; rm -rf ~; echo '",
    "$(touch pwned)",
    "`touch pwned`",
    "${HOME} $HOME $$ $1",
    "a  b\tc",
    "two\nlines\n",
    "\\",
    "\\n\\\\",
    "-rf",
    "--help",
    "*",
    "~",
    "{a,b}",
    "# no comment",
    "&& touch pwned",
    "${{inputs.x}}",
    "$[[inputs.x]]",
    "é 日本 🫀 \u202e \u00a0",
    "\x01\x1b[31m\x7f",
    "",
    " ",
    "!!",
]
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20) | st.sampled_from(NASTY)


def run(rendered: Rendered, where: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        rendered.argv,
        env={**os.environ, **rendered.environment},
        cwd=where,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
    )


def arguments(command: str, values: dict[str, str], where: Path | None = None) -> list[str]:
    """What the program is given."""
    done = run(parse_command(command).render(values), where)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split("\0")[:-1]


def needs_shell(command: str, values: dict[str, str] | None = None) -> bool:
    return parse_command(command).render({"inputs.x": "x", **(values or {})}).argv[0].endswith("bash")


@st.composite
def words(draw: st.DrawFn) -> tuple[str, list[str], dict[str, str]]:
    """Words as they are written, what they are, and the values in them."""
    values = {f"inputs.{name}": draw(TEXTS) for name in "xy"}
    written: list[str] = []
    expected: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        parts, meant = [], []
        for _ in range(draw(st.integers(1, 4))):
            name = draw(st.sampled_from("xy"))
            literal = draw(TEXTS).replace("${{", "").replace("$[[", "").replace("]]", "")
            in_single, in_double = literal.replace("'", ""), re.sub(r'["$`\\]', "", literal)
            kind = draw(st.sampled_from(["value", "plain", "single", "double", "quote"]))
            value = values[f"inputs.{name}"]
            text, meaning = {
                "value": (f"${{{{inputs.{name}}}}}", value),
                "plain": ("--a=b/c.d", "--a=b/c.d"),
                "single": (f"'{in_single}${{{{ inputs.{name} }}}}'", in_single + value),
                "double": (f'"{in_double}${{{{inputs.{name}}}}} \\" \\\\"', f'{in_double}{value} " \\'),
                "quote": (shlex.quote(literal), literal),
            }[kind]
            parts.append(text)
            meant.append(meaning)
        written.append("".join(parts))
        expected.append("".join(meant))
    return " ".join(written), expected, values


@settings(max_examples=250, deadline=None)
@given(words())
@example(("${{inputs.x}}", ['"; rm -rf ~; echo "'], {"inputs.x": '"; rm -rf ~; echo "'}))
def test_values_arrive_letter_by_letter(case: tuple[str, list[str], dict[str, str]]) -> None:
    written, expected, values = case
    plain, in_shell = f"{ARGUMENTS} {written}", f"true && {ARGUMENTS} {written}"
    assert not needs_shell(plain, values)
    assert needs_shell(in_shell, values)
    assert arguments(plain, values) == expected
    assert arguments(in_shell, values) == expected


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f"{ARGUMENTS} a${{{{inputs.x}}}}b", "a{}b"),
        (f"{ARGUMENTS} 'it is '\"${{{{inputs.x}}}}\"", "it is {}"),
        (f"{ARGUMENTS} $'a\\t${{{{inputs.x}}}}\\t'", "a\t{}\t"),
        (f'A=${{{{inputs.x}}}}; {ARGUMENTS} "$A"', "{}"),
        (f"export A='${{{{inputs.x}}}}'\n{ARGUMENTS} \"$A\"", "{}"),
        (f"{ARGUMENTS} \"$({ARGUMENTS} 'a'\"${{{{inputs.x}}}}\"b | tr -d '\\0')\"", "a{}b"),
        (f'if [ -n a${{{{inputs.x}}}} ]; then {ARGUMENTS} "${{{{inputs.x}}}}"; fi', "{}"),
        (f'for x in ${{{{inputs.x}}}}; do {ARGUMENTS} "$x"; done', "{}"),
        (f'f() {{ {ARGUMENTS} "$1"; }}; f ${{{{inputs.x}}}}', "{}"),
        (f"cat <<'END' > /dev/null\nit's $( \"\nEND\n{ARGUMENTS} ${{{{inputs.x}}}}", "{}"),
        (f"case ${{{{inputs.x}}}} in *) {ARGUMENTS} ${{{{inputs.x}}}};; esac", "{}"),
        (f"(cd . && {ARGUMENTS} ${{{{inputs.x}}}}) 2>&1", "{}"),
        (f'[[ ${{{{inputs.x}}}} == "${{{{inputs.x}}}}" && -n a ]] && {ARGUMENTS} ${{{{inputs.x}}}}', "{}"),
        (f"sh -c '{ARGUMENTS.replace(chr(39), chr(34))} \"$1\"' sh ${{{{inputs.x}}}}", "{}"),
        (f"{ARGUMENTS} ${{{{inputs.x}}}} # of ${{{{inputs.x}}}}", "{}"),
        (f"{ARGUMENTS} \\\n  ${{{{inputs.x}}}} \\\n", "{}"),
    ],
)
def test_in_every_kind_of_quotes(command: str, expected: str, value: str, tmp_path: Path) -> None:
    assert arguments(command, {"inputs.x": value}, tmp_path) == [expected.format(value)]
    assert not (tmp_path / "pwned").exists()


CODES = {
    "a": "$(touch pwned)",
    "b": "x[$(touch pwned)]",
    "c": "-c",
    "d": "touch pwned",
    "e": "-v",
    "f": "';touch pwned;'",
    "g": "eval",
}
VALUES = [f"${{{{inputs.{name}}}}}" for name in CODES]
SOUP = [
    *("echo", "true", "printf", "[", "]", "[[", "]]", "test", "export", "readonly", "declare", "read", "set", "--"),
    *("eval", "trap", "let", "source", ".", "exec", "command", "builtin", "time", "-p", "env", "nohup", "sh", "bash"),
    *("-c", "-e", "-s", "-o", "pipefail", "-v", "-n", "-eq", "=", "==", "!", "'", '"', "\\", "`", "$", "$(", ")", "("),
    *("$((", "))", "${", "}", "{", "$'", "<<<", "<<E", "E", "<(", "> out ", "2>&1", "|", "&&", "||", ";", "\n"),
    *("a=", "a[", "=1", "PS4=", "RANDOM=", "case", "in", "esac", ";;", "for", "if", "then", "fi", "do", "done"),
    *(" ", " ", " ", "function", "#", "x", "xargs", "-I{}", "{}", ">&", "0", "EXIT", "%s", "/usr/bin/", "timeout", "5"),
]
WORDS = [token for token in SOUP if token.isalnum() or token[0] in "-=[]!.{}%"]


def _more(commands: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    within = st.sampled_from(
        ["echo $({})", 'eval "$({})"', "( {} )", "{{ {}; }}", "if {}; then true; fi", "f() {{ {}; }}; f", 'x="$({})"']
    )
    between = st.sampled_from(["{} && {}", "{}; {}", "{} | {}", "{}\n{}", "! {} || {}", "echo {} <({})", "{} # {}"])
    return st.builds(str.format, within, commands) | st.builds(str.format, between, commands, commands)


SIMPLE = st.lists(
    st.sampled_from(WORDS)
    | st.builds(str.format, st.sampled_from(["{}", "'{}'", '"{}"', "a={}", "{}/b", "$'{}'"]), st.sampled_from(VALUES)),
    min_size=2,
    max_size=6,
).map(" ".join)
MIXED = st.lists(st.sampled_from(SOUP) | st.sampled_from(VALUES), min_size=2, max_size=14).map("".join)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(command=st.recursive(SIMPLE, _more, max_leaves=4) | MIXED)
def test_whatever_is_accepted_runs_no_value(command: str, tmp_path: Path) -> None:
    try:
        rendered = parse_command(command).render({f"inputs.{name}": code for name, code in CODES.items()})
    except InvalidDocument:
        return
    try:
        run(rendered, tmp_path)
    except OSError:
        pass  # there is no such program
    assert not (tmp_path / "pwned").exists(), rendered


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ('sh -c "echo ${{inputs.x}}"', "stands in code for a shell: pass it as an argument instead"),
        ("bash -c 'echo ${{inputs.x}}'", "stands in code for a shell"),
        ("bash -e -o pipefail -c 'echo ${{inputs.x}}'", "stands in code for a shell"),
        ("bash 2>&1 -c ${{inputs.x}}", "stands in code for a shell"),
        ("/usr/bin/env bash -lc ${{inputs.x}}", "stands in code for a shell"),
        ("nice -n 5 bash -ec ${{inputs.x}}", "stands in code for a shell"),
        ("find . -exec sh -c 'echo ${{inputs.x}}' \\;", "stands in code for a shell"),
        ("source <(echo ${{inputs.x}})", "stands in code for a shell"),
        ('bash -c "$(echo ${{inputs.x}})"', "stands in code for a shell"),
        ("eval echo ${{inputs.x}}", "stands in code for a shell, or what eval takes for it"),
        ("true; command eval ${{inputs.x}}", "what eval takes for it"),
        ("time -p eval ${{inputs.x}}", "what eval takes for it"),
        ("if true; then trap ${{inputs.x}} EXIT; fi", "what trap takes for it"),
        ("function f { eval ${{inputs.x}}; }", "what eval takes for it"),
        ("declare -i n=${{inputs.x}}", "what declare takes for it"),
        ("ssh host ls ${{inputs.x}}", "what ssh takes for it"),
        ("bash ${{inputs.x}}", "may be an option of the shell: write -- in front"),
        ("bash $OPTIONS ${{inputs.x}}", "may be an option of the shell: write -- in front"),
        ("echo ${{inputs.x}} | bash", "must not be near a shell that reads code from its input"),
        ("echo ${{inputs.x}} | bash -s a", "must not be near a shell that reads code from its input"),
        ("bash <<< ${{inputs.x}}", "must not be near a shell that reads code from its input"),
        ("bash /dev/stdin <<< ${{inputs.x}}", "must not be near a shell that reads code from its input"),
        ("echo ${{inputs.x}} | xargs -I % sh -c 'echo %'", "must not be near xargs"),
        ("cat <<END\n${{inputs.x}}\nEND", "stands in a here-document"),
        ("cat <<'END'\n${{inputs.x}}\nEND", "stands in a here-document"),
        ("cat <<${{inputs.x}}\n", "ends a here-document"),
        ("echo a >& ${{inputs.x}}", "stands behind >&"),
        ("echo a >&1${{inputs.x}}", "stands behind >&"),
        ("echo `basename ${{inputs.x}}`", "stands in backticks"),
        ("echo $${{inputs.x}}", r"stands right after a \$"),
        ("echo \\${{inputs.x}}", "stands right after a backslash"),
        ('echo "\\${{inputs.x}}"', "stands right after a backslash"),
        ("${{inputs.x}} --help", "names the program to run"),
        ("true; env A=1 ${{inputs.x}}", "names the program to run"),
        ("./${{inputs.x}}", "names the program to run"),
        ("test ${{inputs.x}} ${{inputs.x}}", "stands behind what may be an operator"),
        ("[ -v ${{inputs.x}} ]", "stands behind what may be an operator"),
        ("[[ ${{inputs.x}} -eq 1 ]]", "operator that does sums"),
        ("printf ${{inputs.x}} 1", "is no format"),
        ("printf -v ${{inputs.x}} 1", "is no format"),
        ("export ${{inputs.x}}", "in the name of a variable"),
        ("PS4=${{inputs.x}} bash -x a.sh", "is given to PS4"),
        ("export BASH_ENV=${{inputs.x}}", "is given to BASH_ENV"),
        ("a[${{inputs.x}}]=1", "stands beside an index"),
        ("set ${{inputs.x}}", "may be an option of set"),
    ],
)
def test_where_a_value_must_not_stand(command: str, why: str) -> None:
    with pytest.raises(InvalidDocument, match=re.escape("${{inputs.x}} ") + ".*" + why):
        parse_command(command)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("echo $((${{inputs.x}} + 1))", "$((...)) with a value"),
        ("echo $[${{inputs.x}} + 1]", "$[...] with a value"),
        ("((${{inputs.x}} > 1))", "((...)) with a value"),
        ("echo ${a:-${{inputs.x}}}", "${...} with a value"),
        ("echo ${a:-$(date)} ${{inputs.x}}", "${...} with a value, quotes or a $"),
        ('echo $"${{inputs.x}}"', '$"..."'),
        ("echo $(case a in a) ${{inputs.x}};; esac)", "case within parentheses"),
        ("(echo ${{inputs.x}}", "a ( without its )"),
        (f"{'(' * 60}echo ${{{{inputs.x}}}}{')' * 60}", "((...)) with a value"),
        (f"{'( ' * 60}echo ${{{{inputs.x}}}}{')' * 60}", "that many parentheses"),
    ],
)
def test_what_is_not_understood_is_not_guessed_at(command: str, what: str) -> None:
    with pytest.raises(InvalidDocument, match=re.escape(f"{what}") + ".*is not supported in a command with"):
        parse_command(command)
    assert needs_shell(command.replace("${{inputs.x}}", "x"))


@pytest.mark.parametrize(
    "command",
    [
        "python score.py --a=b -x 5 'a b' \"c d\" e\\ f",
        "python score.py http://host/a#b 50% a@b,c:d+e^f",
        "\n\npython score.py\n",
        "python \\\n  score.py",
        "env A=1 python score.py",
        "./watch ${{inputs.x}}",
    ],
)
def test_words_need_no_shell(command: str) -> None:
    assert not needs_shell(command)
    assert parse_command(command).render({"inputs.x": "x"}).environment == {}


@pytest.mark.parametrize(
    "command",
    [
        *(
            "a\nb",
            "a | b",
            "a & b",
            "a; b",
            "a < b",
            "a > b",
            "(a)",
            "a $B",
            'a "$B"',
            'a "`b`"',
            "a *",
            "a ?",
            "a [b]",
        ),
        *("a ~/b", "a {b,c}", "a # b", "! a", "A=1 b", "a && b", "cd b", "export A=1", "source a", "set -x", "time a"),
        "if a; then b; fi",
    ],
)
def test_more_than_words_needs_a_shell(command: str) -> None:
    assert needs_shell(command)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_words_are_those_of_the_standard_library(given_words: list[str]) -> None:
    command = " ".join(["a", *map(shlex.quote, given_words)]).replace("${{", "").replace("$[[", "").replace("]]", "")
    assert parse_command(command).render({}).argv == shlex.split(command)


def test_a_script_stops_at_the_first_failure() -> None:
    assert run(parse_command("false | cat\necho on").render({})).stdout == b""
    assert run(parse_command("false | cat\necho on").render({})).returncode == 1


def test_without_bash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command_line.shutil, "which", lambda *_, **__: None)
    rendered = parse_command(f"cd {tmp_path} && {ARGUMENTS} 'a'${{{{inputs.x}}}}").render({"inputs.x": NASTY[0]})
    assert rendered.argv[:-1] == ["/bin/sh", "-e", "-c"]
    assert run(rendered).stdout.decode() == f"a{NASTY[0]}\0"


OPTIONAL = (
    "a $[[--x ${{inputs.x}}]] $[[ --both ${{inputs.x}} ${{inputs.y}} ]] --name $[[inputs.y]] -z=$[[inputs.y]] end"
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "a end"),
        ({"inputs.x": ""}, "a|--x||end"),
        ({"inputs.x": "1"}, "a|--x|1|end"),
        ({"inputs.y": "2 3"}, "a|--name|2 3|-z=2 3|end"),
        ({"inputs.x": "1", "inputs.y": "2"}, "a|--x|1|--both|1|2|--name|2|-z=2|end"),
    ],
)
def test_optional_parts(values: dict[str, str], expected: str) -> None:
    assert parse_command(OPTIONAL).render(values).argv == (expected.split("|") if "|" in expected else expected.split())


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("a b $[[inputs.x]]", ["a", "b"]),
        ("a --b c $[[inputs.x]]", ["a", "--b", "c"]),
        ("a not--b $[[inputs.x]]", ["a", "not--b"]),
        ("a ${{inputs.y}}--b $[[inputs.x]]", ["a", "y--b"]),
        ("a - $[[inputs.x]] -- $[[inputs.x]]", ["a", "-", "--"]),
        ("a --b $[[${{inputs.x}}]]", ["a", "--b"]),
    ],
)
def test_only_a_flag_goes_with_its_value(command: str, expected: list[str]) -> None:
    assert parse_command(command).render({"inputs.y": "y"}).argv == expected


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("a $[[--x ${{inputs.x}}", r"\$\[\[ is not closed"),
        ("a $[[--x $[[inputs.x]] ]]", r"\$\[\[ stands within"),
        ("a $[[--x]]", "holds no input"),
        ("a $[[--y ${{outputs.y}}]]", "holds no input"),
        ("a $[[outputs.y]]", "holds no input"),
        ("a $[[]]", "holds no input"),
        ("$[[a ${{inputs.x}}]]", "the command is empty"),
        ("", "the command is empty"),
        ("  \n", "the command is empty"),
        ("a\0b", "NUL"),
        ("a 'b", "a ' is not closed"),
        ('a "b', 'a " is not closed'),
        ("a `b", "a ` is not closed"),
        ("a $[[' ${{inputs.x}}]] '", "a ' is not closed"),
        ("a ${{parent.inputs.x}}", r"\$\{\{parent.inputs.x\}\} stands in a command"),
        ("a ${{parent.jobs.s.outputs.o}}", r"\$\{\{parent.jobs.s.outputs.o\}\} stands in a command"),
        ("a ${{name}}", r"\$\{\{name\}\} stands in a command"),
        ("a ${{inputs.x y}}", "is not an expression"),
    ],
)
def test_refused(command: str, why: str) -> None:
    with pytest.raises(InvalidDocument, match=why):
        parse_command(command)


def test_double_brackets_are_the_shells_own() -> None:
    assert needs_shell("[[ -n a ]] && b $[[${{inputs.x}}]]")


def test_what_a_command_refers_to() -> None:
    command = parse_command("a ${{inputs.x}} $[[${{inputs.y}} ${{outputs.o}}]] ${{ inputs.x }} $[[inputs.z]]")
    assert command.expressions == [InputRef("x"), InputRef("y"), OutputRef("o"), InputRef("z")]
    assert command.optional == {"y", "z"}
    assert command.required == {"x"}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, r"\$\{\{inputs.x\}\} has no value"),
        ({"inputs.x": "a\0b"}, "inputs.x holds the character NUL"),
        ({"inputs.x": "\ud800"}, "inputs.x is not valid text"),
        ({"inputs.x": "a" * 200_000}, "too long for a command"),
    ],
)
@pytest.mark.parametrize("command", ["echo ${{inputs.x}}", "true && echo ${{inputs.x}}"])
def test_values_that_cannot_be_given(command: str, values: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidDocument, match=why):
        parse_command(command).render(values)


def test_the_longest_value() -> None:
    for command in (f"{ARGUMENTS} ${{{{inputs.x}}}}", f"true && {ARGUMENTS} ${{{{inputs.x}}}}"):
        longest = "a" * (128 * 1024 - 1 - len("PREFECT_BATCH_1=") * ("&&" in command))
        assert arguments(command, {"inputs.x": longest}) == [longest]


def test_a_path_that_is_not_unicode() -> None:
    value = os.fsdecode(b"/data/\xff")
    program = "import os, sys; sys.stdout.buffer.write(os.fsencode(sys.argv[1]))"
    for command in (f"{sys.executable} -c '{program}' ${{{{inputs.x}}}}",) * 2:
        assert run(parse_command(command).render({"inputs.x": value})).stdout == b"/data/\xff"


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "True"), (False, "False"), (5, "5"), (5.0, "5.0"), (0.1, "0.1"), (1e30, "1e+30"), ("007", "007"), ("", "")],
)
def test_literals_as_arguments(value: str | bool | int | float, text: str) -> None:
    assert as_argument(value) == text
