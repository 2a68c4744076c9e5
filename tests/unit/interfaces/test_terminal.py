"""What the command line shows."""

from __future__ import annotations

import pytest

from prefect_batch.interfaces import terminal

NAMES = "azureml:x:1 data[0] s3://bucket/[old]/" + "long/" * 40


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]):
    terminal.result(NAMES)
    terminal.note(NAMES)
    terminal.table(("NAME",), [(NAMES,)])
    shown = capsys.readouterr()
    assert shown.out == f"{NAMES}\nNAME\n{NAMES}\n"
    assert shown.err == f"{NAMES}\n"


def test_the_bar_of_an_upload_says_what_it_copies(capsys: pytest.CaptureFixture[str]):
    with terminal.byte_bar("Uploading data[0]") as update:
        update(2, 2)  # nothing to do
        assert not capsys.readouterr().err
        update(1, 2)
    assert capsys.readouterr().err.strip() == "Uploading data[0]"
