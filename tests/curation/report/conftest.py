"""One small OUT for all tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpa.curation.report.audit import audit
from gpa.curation.report.outputs import open_run
from gpa.curation.report.write import write_report
from tests.curation.report.synthetic import write_out


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 100 utterances, three voters and a verifier, with its report."""
    folder = tmp_path_factory.mktemp("out")
    write_out(folder, utterances=20, verifier="delta")
    run = open_run(str(folder))
    write_report(run, audit(run, 40))
    return folder
