"""What libraries write to the terminal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gpa.runtime.chatter import without_native_chatter

LOADING = (
    "from gpa.runtime import cli; from gpa.curation.models.diarization import ge2e; "
    "from pyannote.audio.pipelines import SpeakerDiarization"
)


def test_native_chatter_is_swallowed_and_nothing_after_it(capfd):
    with without_native_chatter():
        os.write(2, b"----5---10---15")
    os.write(2, b"a warning")
    assert capfd.readouterr().err == "a warning"


@pytest.mark.slow
def test_libraries_are_imported_without_a_word():
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
