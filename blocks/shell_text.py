"""What a command line's text means to a shell: its words, its commands, and the quotes that each value stands in.

Values are unknown here: each stands in the text as one VALUE character. What follows bash's own manual (Shell Syntax,
Shell Expansions, Redirections); text whose meaning takes more than that is refused as not understood, never guessed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

VALUE = "\0"
"""Stands for a value. No argument of a program can hold this character, so no text that is a command does."""
Quotes = Literal["none", "double", "single", "ansi"]
LEADING = {"if", "then", "elif", "else", "do", "while", "until", "!", "{"}
"""Words that a command follows."""

_DEEPEST = 50
_BLANKS = re.compile(r"(?:[ \t]|\\\n)+")
_REDIRECT = re.compile(r"<<<|<<-?|<&|<>|>>|>&|>\||&>>|&>|[<>](?!\()")
_SEPARATOR = re.compile(r"&&|\|\||;;&|;;|;&|\|&|[;&|]")
_DESCRIPTOR = re.compile(r"[0-9]+|\{\w+\}")  # right in front of a redirection
_COMMENT = re.compile(r"#[^\n]*")
_PLAIN = re.compile(r"[^\s\\'\"`$\0<>()|&;*?\[\]~{}!]+|[^\S \t\n]")
# Only what holds no value, no quotes and no further expansion, so that its end is beyond doubt.
_PARAMETER = re.compile(r"\$\{[^{}$\\'\"`\0]*\}")
_ARITHMETIC = re.compile(r"\$?\(\((?:[^()#\\'\"`\0]|\([^()#\\'\"`\0]*\))*\)\)")
_OLD_ARITHMETIC = re.compile(r"\$\[[^\[\]()#\\'\"`\0]*\]")


class Refused(Exception):
    """A value stands where it must not: which one, counted from 0, and why."""

    def __init__(self, value: int, why: str) -> None:
        super().__init__(why)
        self.value, self.why = value, why


class NotUnderstood(Exception):
    """The text means something to a shell that is not known here."""


class Unclosed(Exception):
    """A quote that is not closed: the text means nothing to any shell."""


@dataclass
class Word:
    """One word of a command, its quotes taken off."""

    text: str
    value: int = 0
    """The first value in it, counted from 0, if it holds any."""

    @property
    def has_value(self) -> bool:
        return VALUE in self.text


@dataclass
class ShellText:
    """A text as a shell sees it."""

    quotes: list[Quotes] = field(default_factory=list[Quotes])
    """What each value stands in, in order."""
    commands: list[list[Word]] = field(default_factory=list[list[Word]])
    """The words of every simple command, also of those within others, without redirections."""
    needs_shell: bool = False
    """Whether there is more than words in it."""


def read(text: str) -> ShellText:
    """Raises Refused, NotUnderstood and Unclosed."""
    reader = _Reader(text)
    reader.list_of_commands(depth=0)
    return reader.found


def _in_test(words: list[Word]) -> bool:
    """Whether these words begin a [[ that is still open: what stands in it are neither commands nor redirections."""
    texts = [word.text for word in words]
    while texts and texts[0] in LEADING:
        texts.pop(0)
    return texts[:1] == ["[["] and texts[-1] != "]]"


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found = ShellText()
        self.depth = 0
        self.here_documents: list[tuple[str, bool]] = []  # how each ends, and whether tabs in front count

    def list_of_commands(self, depth: int) -> None:
        """Reads up to the end, or from within parentheses up to the one that closes them."""
        if depth > _DEEPEST:
            raise NotUnderstood("that many parentheses")
        self.depth = depth
        words: list[Word] = []
        redirection = ""  # that the next word is the target of
        behind = -1  # the last word
        while self.at < len(self.text):
            if self.skip(_BLANKS) or self.skip(_COMMENT):
                continue
            in_test = _in_test(words)
            start, char = self.at, self.text[self.at]
            if operator := self.skip(_REDIRECT):
                self.found.needs_shell = True
                if words and start == behind and _DESCRIPTOR.fullmatch(words[-1].text):
                    words.pop()
                if operator in ("<<", "<<-"):
                    self.begin_here_document(strip_tabs=operator == "<<-")
                else:
                    redirection = "" if in_test else operator
            elif char in "\n;&|()":
                if self.operator(words, in_test, depth):
                    return
                if char == "\n" or not in_test:
                    words, redirection = [], ""
            else:
                word = self.word()
                if depth and word.text == "case":
                    raise NotUnderstood("case within parentheses")
                if not redirection:
                    words.append(word)
                elif redirection in (">&", "<&") and word.has_value:
                    # bash expands the name of such a file once more.
                    raise Refused(word.value, f"stands behind {redirection}: write > and 2>&1 behind it instead")
                redirection, behind = "", self.at
        self.end_command(words)
        if depth:
            raise NotUnderstood("a ( without its )")

    def skip(self, pattern: re.Pattern[str]) -> str | None:
        """Goes past what the pattern finds here, if it finds anything, and gives it."""
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        if pattern is _COMMENT:
            self.found.needs_shell = True
            self.add_values(match[0], "none")
        self.at = match.end()
        return match[0]

    def add_values(self, text: str, quotes: Quotes) -> None:
        values: list[Quotes] = [quotes for char in text if char == VALUE]
        self.found.quotes.extend(values)

    def end_command(self, words: list[Word]) -> None:
        if words:
            self.found.commands.append(words)

    def operator(self, words: list[Word], in_test: bool, depth: int) -> bool:
        """What stands between commands. Whether it ends this list of commands."""
        char = self.text[self.at]
        if char == "\n":
            self.at += 1
            self.end_command(words)
            if self.found.commands and self.text[self.at :].strip():
                self.found.needs_shell = True
            self.read_here_documents()
            return False
        self.found.needs_shell = True
        if in_test:
            self.at += 1
            return False
        self.end_command(words)
        if char == ")":
            self.at += 1
            return depth > 0  # else it ends a pattern of `case`
        if char != "(":
            self.skip(_SEPARATOR)
        elif self.text.startswith("((", self.at):
            if not self.skip(_ARITHMETIC):
                raise NotUnderstood("((...)) with a value or quotes in it")
        else:
            self.at += 1
            self.nested()
        return False

    def nested(self) -> str:
        """A list of commands in parentheses, from behind the first. Gives the values in it."""
        before, depth = len(self.found.quotes), self.depth
        self.list_of_commands(depth + 1)
        self.depth = depth
        return VALUE * (len(self.found.quotes) - before)

    def begin_here_document(self, strip_tabs: bool) -> None:
        self.skip(_BLANKS)
        ending = self.word()
        if ending.has_value:
            raise Refused(ending.value, "ends a here-document")
        self.here_documents.append((ending.text, strip_tabs))

    def read_here_documents(self) -> None:
        for ending, strip_tabs in self.here_documents:
            while self.at < len(self.text):
                line, _, _ = self.text[self.at :].partition("\n")
                self.at += len(line) + 1
                if VALUE in line:
                    raise Refused(len(self.found.quotes), "stands in a here-document")
                if line.endswith("\\"):
                    raise NotUnderstood("a line of a here-document that ends in a backslash")
                if (line.lstrip("\t") if strip_tabs else line) == ending:
                    break
        self.here_documents = []

    def word(self) -> Word:
        """One word, as a program would see it: what is only known when it runs stands as it is written."""
        start, first, parts = self.at, len(self.found.quotes), list[str]()
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in " \t\n;&|()" or (char in "<>" and not self.text.startswith("(", self.at + 1)):
                break
            parts.append(self.piece(char))
        if self.here_documents and "\n" in self.text[start : self.at]:
            raise NotUnderstood("a word of several lines after <<")
        return Word("".join(parts), first)

    def piece(self, char: str) -> str:
        """The next part of a word, outside quotes."""
        if plain := self.skip(_PLAIN):
            return plain
        if char == "'":
            return self.quoted(re.compile(r"'([^']*)'"), "single")
        if char == '"':
            self.at += 1
            return self.double_quoted()
        if char == "$":
            return self.dollar(in_quotes=False)
        if char == "`":
            return self.backticks()
        if char == "\\":
            return self.escaped(every=True)
        if char == VALUE:
            self.found.quotes.append("none")
        else:
            self.found.needs_shell = True
        self.at += 1
        if char in "<>":
            self.at += 1
            return f"{char}({self.nested()})"
        return char

    def quoted(self, pattern: re.Pattern[str], quotes: Quotes) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise Unclosed("'")
        self.add_values(match[1], quotes)
        self.at = match.end()
        return match[1]

    def double_quoted(self) -> str:
        parts: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                parts.append(self.escaped(every=False))
            elif char == "$":
                parts.append(self.dollar(in_quotes=True))
            elif char == "`":
                parts.append(self.backticks())
            else:
                self.at += 1
                if char == '"':
                    return "".join(parts)
                if char == VALUE:
                    self.found.quotes.append("double")
                parts.append(char)
        raise Unclosed('"')

    def escaped(self, every: bool) -> str:
        """A backslash and what it stands before; within double quotes it escapes only some characters."""
        char = self.text[self.at + 1 : self.at + 2]
        self.at += 1 + len(char)
        if char == VALUE:
            raise Refused(len(self.found.quotes), "stands right after a backslash")
        if char == "\n":
            return ""
        return char if char and (every or char in '$`"\\') else f"\\{char}"

    def backticks(self) -> str:
        self.found.needs_shell = True
        match = re.compile(r"`(?:[^`\\]|\\.)*`", re.DOTALL).match(self.text, self.at)
        if match is None:
            raise Unclosed("`")
        if VALUE in match[0]:
            raise Refused(len(self.found.quotes), "stands in backticks: write $(...) instead of them")
        self.at = match.end()
        return match[0]

    def dollar(self, in_quotes: bool) -> str:
        self.found.needs_shell = True
        follows = self.text[self.at + 1 : self.at + 2]
        if follows == VALUE:
            raise Refused(len(self.found.quotes), "stands right after a $")
        if follows == "'" and not in_quotes:
            self.at += 1
            ansi = self.quoted(re.compile(r"'((?:[^'\\]|\\[^\0])*)'"), "ansi")
            return f"$'{ansi}'"
        if follows == '"' and not in_quotes:
            raise NotUnderstood('$"..."')
        if follows == "{":
            return self.whole(_PARAMETER, "${...} with a value, quotes or a $ in it")
        if self.text.startswith("$((", self.at):
            return self.whole(_ARITHMETIC, "$((...)) with a value or quotes in it")
        if follows == "[":
            return self.whole(_OLD_ARITHMETIC, "$[...] with a value or quotes in it")
        self.at += 1
        if follows == "(":
            self.at += 1
            return f"$({self.nested()})"
        return "$"

    def whole(self, pattern: re.Pattern[str], otherwise: str) -> str:
        found = self.skip(pattern)
        if found is None:
            raise NotUnderstood(otherwise)
        return found
