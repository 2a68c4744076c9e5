"""Where a value must not stand in a command line, as a program would take it for code.

A value in quotes reaches the program as it is. What the program does with it is another matter: `sh -c`, `eval` and
many commands of bash itself (`declare`, `read`, `test -v`) run what they are given, or do sums with it, which can run
it, too. They are refused a value. What is beyond a text's reach is its author's own doing: a variable that was set from
a value and is handed to one of them later, or a program that runs its arguments as code, as `python -c` does.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from .shell_text import LEADING, VALUE, Refused, ShellText, Word

SHELLS = {"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "fish", "csh", "tcsh", "rbash"}
_CODE = "stands in code for a shell"
_NEAR_INPUT = "must not be near a shell that reads code from its input: write the code into a file"
_AS_ARGUMENT = "pass it as an argument instead: sh -c '... \"$1\" ...' sh <expression>"
_NOT_COMMANDS = {"for", "case", "select", "in", "esac", "fi", "done", "}"}
_WRAPPERS = {
    *("env", "nohup", "exec", "command", "builtin", "setsid", "stdbuf", "nice", "ionice", "timeout", "sudo", "doas"),
    *("chrt", "xargs", "time"),
}
_EVALUATES = {
    *("eval", "trap", "let", "alias", "declare", "typeset", "local", "read", "unset", "mapfile", "readarray"),
    *("getopts", "complete", "compgen", "compopt", "bind", "fc", "hash", "enable", "coproc", "shopt", "wait", "jobs"),
}
_RUNS_IN_SHELL = {"ssh", "watch", "parallel", "su", "runuser", "script", "flock"}
_BUILTINS = {
    *("cd", "export", "readonly", "source", ".", ":", "set", "exit", "return", "shift", "umask", "ulimit", "pushd"),
    *("popd", "dirs", "exec", "command", "builtin", "type", "break", "continue", "times", "time", "function"),
}
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=")
_SUBSCRIPT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[")
# bash expands the values of these, or does sums with them.
_EXPANDED = {
    *("BASH_ENV", "ENV", "PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS4", "SHELLOPTS", "BASHOPTS"),
    *("RANDOM", "SRANDOM", "OPTIND", "HISTCMD"),
}
_SUMS = {"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"}
_TAKES_CODE = re.compile(r"[-+][A-Za-z]*c[A-Za-z]*")
_READS_INPUT = re.compile(r"[-+][A-Za-z]*s[A-Za-z]*")
_LIKE_OF_SHELL = re.compile(rf"[-+][A-Za-z]+$|{VALUE}")  # what a shell is given, rather than `--shell bash` a program
_TAKES_NAME = re.compile(r"[-+][A-Za-z]*[oO]|--rcfile|--init-file")


def is_for_shell(words: list[Word]) -> bool:
    """Whether only a shell can run this command: its own words and builtins, and variables set in front."""
    first = words[0].text
    return first in LEADING | _NOT_COMMANDS | _BUILTINS | _EVALUATES or _ASSIGNMENT.match(first) is not None


def check(text: ShellText) -> None:
    """Raises Refused for the first value that stands where it must not."""
    if text.quotes:
        for words in text.commands:
            _check_command(words)


def _check_command(words: list[Word]) -> None:
    words = _past_assignments(words)
    if not words or words[0].text in _NOT_COMMANDS:
        return
    if words[0].text == "function":
        _check_command(words[2:])
        return
    program, arguments = words[0], words[1:]
    base = _base(program)
    name = base if program.text in (base, f"/bin/{base}", f"/usr/bin/{base}") else ""  # `./watch` is another program
    if _SUBSCRIPT.match(program.text) and program.has_value:
        raise Refused(program.value, "stands beside an index: assign it to a variable of its own")
    if VALUE in base:
        raise Refused(program.value, "names the program to run: name that in the command itself")
    if name in _EVALUATES | _RUNS_IN_SHELL:
        _refuse(arguments, f"{_CODE}, or what {name} takes for it: pass it to a program as an argument instead")
    elif name in _RULES:
        _RULES[name](arguments)
    elif name in _WRAPPERS:
        _check_replacing(name, arguments)
        _check_command(_wrapped(name, arguments))
    if base in SHELLS:
        _check_shell(arguments)
        return
    for index, word in enumerate(arguments[:-1]):
        if _base(word) in SHELLS and _LIKE_OF_SHELL.match(arguments[index + 1].text):
            _check_shell(arguments[index + 1 :])


def _base(word: Word) -> str:
    return word.text.rpartition("/")[2]


def _refuse(words: list[Word], why: str) -> None:
    for word in words:
        if word.has_value:
            raise Refused(word.value, why)


def _past_assignments(words: list[Word]) -> list[Word]:
    for index, word in enumerate(words):
        match = _ASSIGNMENT.match(word.text)
        if match and match[1] in _EXPANDED:
            _refuse([word], f"is given to {match[1]}, which bash takes for code")
        if not match and word.text not in LEADING:
            return words[index:]
    return []


def _wrapped(name: str, arguments: list[Word]) -> list[Word]:
    """The command that env, nohup and their like are to run."""
    skipped = 1 if name == "timeout" else 0
    for index, word in enumerate(arguments):
        if word.text.startswith("-"):
            continue
        if not skipped:
            return arguments[index:]
        skipped -= 1
    return []


def _check_replacing(name: str, arguments: list[Word]) -> None:
    replaces = any(word.text.startswith(("-I", "-i", "--replace")) for word in arguments)
    if name == "xargs" and replaces and any(_base(word) in SHELLS for word in arguments):
        raise Refused(0, "must not be near xargs that writes into code for a shell: leave out -I")


def _check_shell(arguments: list[Word]) -> None:
    """Behind sh, bash: `-c` takes code, else the first operand is a file of it, else code is read."""
    takes_code, takes_name, options = False, False, True
    for index, word in enumerate(arguments):
        if options and word.text in ("-", "--"):
            options = False
        elif options and takes_name and not word.has_value:
            takes_name = False
        elif options and word.text[:1] in ("-", "+") and not word.has_value:
            if _READS_INPUT.fullmatch(word.text):
                break
            takes_code = takes_code or _TAKES_CODE.fullmatch(word.text) is not None
            takes_name = _TAKES_NAME.fullmatch(word.text) is not None
        elif takes_code:
            _refuse([word], f"{_CODE}: {_AS_ARGUMENT}")
            return
        else:
            _check_script(arguments[index:], options)
            return
    raise Refused(0, _NEAR_INPUT)


def _check_script(words: list[Word], options: bool) -> None:
    """A file of code and its arguments: it must be a file, not an option, and not made of a value on the fly."""
    script = words[0]
    if script.text.startswith(("/dev/", "/proc/")):
        raise Refused(0, _NEAR_INPUT)
    if script.has_value and "(" in script.text:
        raise Refused(script.value, f"{_CODE}: {_AS_ARGUMENT}")
    if options and script.text.startswith(("$", VALUE, "-", "+")):
        _refuse(words, "may be an option of the shell: write -- in front of the script")


def _check_source(arguments: list[Word]) -> None:
    if arguments:
        _check_script(arguments, options=arguments[0].text != "--")


def _check_export(arguments: list[Word]) -> None:
    for word in arguments:
        if word.has_value and not _ASSIGNMENT.match(word.text):
            raise Refused(word.value, "stands in the name of a variable")
        _past_assignments([word])


def _check_printf(arguments: list[Word]) -> None:
    if arguments and (arguments[0].has_value or arguments[0].text.startswith("-v")):
        _refuse(arguments, "is no format: write printf '%s' and the value after it")


def _check_test(arguments: list[Word]) -> None:
    """`[`: `-v` does sums with an index in what follows it, and a value may be `-v`."""
    for word, following in itertools.pairwise(arguments):
        may_be = word.text in ("-v", "-R") or (word.has_value and word.text.startswith((VALUE, "-")))
        if may_be and following.has_value:
            raise Refused(following.value, "stands behind what may be an operator: write an operator between the two")


def _check_double_brackets(arguments: list[Word]) -> None:
    if any(word.text in _SUMS for word in arguments):
        _refuse(arguments, "stands in [[ ]] with an operator that does sums: write [ ] instead")


def _check_set(arguments: list[Word]) -> None:
    for word in arguments:
        if word.text == "--":
            return
        _refuse([word], "may be an option of set: write -- in front of it")


_RULES: dict[str, Callable[[list[Word]], None]] = {
    "source": _check_source,
    ".": _check_source,
    "export": _check_export,
    "readonly": _check_export,
    "printf": _check_printf,
    "test": _check_test,
    "[": _check_test,
    "[[": _check_double_brackets,
    "set": _check_set,
}
