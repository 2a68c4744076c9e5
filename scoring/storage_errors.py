"""What a storage's own errors become: one line each, without a secret in it."""

from __future__ import annotations

import contextlib
import errno
import html
import os
import re
from collections.abc import Generator, Iterable
from urllib.parse import quote, quote_plus, unquote

from . import retries
from .errors import BatchError, DiskFull, StorageFailed

_SIGNED = re.compile(
    r"(?i)\b((?:x-amz|x-goog)-(?:signature|credential|security-token)|sig|signature|accountkey|sharedaccesskey"
    r"|sharedaccesssignature|access_token|password|client_secret)=[^&\s\"';,)>]+"
)
_QUERY = re.compile(r"(https?://[^\s'\"?]+)\?[^\s'\")>]+")
_LOGIN = re.compile(r"(://)[^/@\s:]+:[^/@\s]+@")
_DENIED = frozenset(
    {
        "ClientAuthenticationError",
        "CredentialUnavailableError",
        "DefaultCredentialsError",
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "RefreshError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
_ABSENT = frozenset({"ResourceNotFoundError"})
_TAKEN = frozenset({"ResourceExistsError"})
_LONGEST_REASON = 300  # characters


class Redaction:
    """Takes credentials out of texts.

    Args:
        secrets: texts that must never show; as they are quoted or escaped in a URL, HTML or a repr they are taken out
            too.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        plain = {form for text in secrets if text for form in (text, unquote(text))}
        forms = {form for text in plain for form in (text, quote(text), quote(text, safe=""), quote_plus(text))}
        forms |= {form for text in plain for form in (html.escape(text), repr(text)[1:-1])}
        self._secrets = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _QUERY.sub(r"\1?***", text)
        return _LOGIN.sub(r"\1***@", _SIGNED.sub(r"\1=***", text))


def translate(error: Exception, what: str, url: str, redact: Redaction) -> Exception:
    """The error to raise instead of a storage's own.

    FileNotFoundError, FileExistsError, IsADirectoryError and NotADirectoryError stay what they are, whatever may not
    be done is a PermissionError, everything else is StorageFailed; DiskFull where there is no room.

    Args:
        error: of the storage.
        what: what was tried, as in "read".
        url: of the file or folder.
        redact: of the storage's secrets.
    """
    shown = redact(url)
    if isinstance(error, BatchError):
        return error
    links = list(retries.chain(error))
    for kind, number in (
        (FileNotFoundError, errno.ENOENT),
        (FileExistsError, errno.EEXIST),
        (IsADirectoryError, errno.EISDIR),
        (NotADirectoryError, errno.ENOTDIR),
    ):
        if isinstance(error, kind):
            return kind(number, os.strerror(number), shown)
    if isinstance(error, OSError) and error.errno in (errno.ELOOP, errno.ENAMETOOLONG):  # no file has such a name
        return FileNotFoundError(error.errno, os.strerror(error.errno), shown)
    names = {name for link in links for name in retries.type_names(link)}
    statuses = {retries.status(link) for link in links}
    if names & _DENIED or "PermissionError" in names or statuses & {401, 403} or str(error).startswith("Forbidden"):
        return PermissionError(errno.EACCES, f"may not {what} it ({_reason(links, redact)})", shown)
    if names & _ABSENT or 404 in statuses:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shown)
    if names & _TAKEN or 412 in statuses:
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), shown)
    full = isinstance(error, OSError) and error.errno in _NO_ROOM
    failed = DiskFull if full else StorageFailed
    return failed(f"cannot {what} {shown}: {_reason(links, redact)}{_FULL if full else _advice(error)}")


@contextlib.contextmanager
def telling_when_full(url: str, redact: Redaction) -> Generator[None]:
    """While a file of that URL is gathered on a disk. Raises DiskFull for the disk's own error that it has no room."""
    try:
        yield
        return
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        full = translate(error, "write", url, redact)
    raise full


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FULL = ": make room on that disk (the temporary folder's, for a remote storage), then run it again"


def _reason(links: list[BaseException], redact: Redaction) -> str:
    error = links[0]
    # Before it is cut: of half a secret nothing would be found.
    text = redact(error.strerror if isinstance(error, OSError) and error.strerror else str(error))
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(first) > _LONGEST_REASON:
        first = first[:_LONGEST_REASON] + "..."
    return first if " " in first else f"{type(error).__name__}: {first}".rstrip(": ")


def _advice(error: Exception) -> str:
    if isinstance(error, NotImplementedError):
        return ": this kind of storage cannot do that"
    if retries.is_transient(error):
        return " (tried several times: check that the storage can be reached and is well, then run it again)"
    return ""
