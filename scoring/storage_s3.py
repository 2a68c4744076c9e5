"""What S3 has and no other storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def abandon_uploads(fs: Any, folder: str, is_ours: Callable[[str], bool]) -> None:
    """Give up unfinished uploads to files of a folder: those whose name, relative to it, is ours."""
    bucket, prefix, _ = fs.split_path(f"{folder.rstrip('/')}/")
    found = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
    for upload in found.get("Uploads", []):
        if is_ours(upload["Key"].removeprefix(prefix)):
            fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
