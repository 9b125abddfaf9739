"""What a person sees when something is wrong before the work starts: one sentence, status 2."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpa.runtime import cli
from tests.runs import ROOT, pipelines


def gpa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object):
    """Exit status and standard error of the `gpa` command, run in this process."""
    monkeypatch.setattr("sys.argv", ["gpa", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code, capsys.readouterr().err


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"RIFF")
    return folder


def misspelt(laptop: dict) -> None:
    laptop["consensus"]["max_pwr"] = 0.2


def unknown_model(laptop: dict) -> None:
    laptop["transcribe"]["asr"]["whisper-base"]["model"] = "whisperer"


def unknown_weights(laptop: dict) -> None:
    laptop["transcribe"]["asr"]["whisper-base"]["weights"] = "wheel:huge"


def unknown_voter(laptop: dict) -> None:
    laptop["consensus"]["panels"]["en"]["voters"] = ["whisper-bas", "whisper-tiny-en"]


def denoised_without_a_denoiser(laptop: dict) -> None:
    laptop["denoise"] = {"model": "none"}
    laptop["transcribe"]["hears"] = "denoised"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (misspelt, "did you mean 'max_pwer'?"),
        (unknown_model, "whisperer"),
        (unknown_weights, "There is no Whisper 'huge' in a wheel"),
        (unknown_voter, "did you mean 'whisper-base'?"),
        (denoised_without_a_denoiser, "denoise.model is none"),
    ],
)
def test_a_bad_config_never_starts_a_run(
    change, says: str, recordings: Path, tmp_path: Path, monkeypatch, capsys
):
    out, config = tmp_path / "out", pipelines(tmp_path, change)
    code, error = gpa(
        monkeypatch, capsys, "curate", "--corpus", recordings, "--out", out, "--config", config
    )
    assert code == 2
    assert says in error
    assert "Traceback" not in error
    assert not (out / "corpus.parquet").exists()


def test_an_unknown_pipeline_names_the_nearest(monkeypatch, capsys, tmp_path: Path):
    config = pipelines(tmp_path)
    code, error = gpa(monkeypatch, capsys, "doctor", "--pipeline", "labtop", "--config", config)
    assert (code, "did you mean 'laptop'?" in error) == (2, True)


def test_elsewhere_the_shipped_pipelines_are_read_and_a_file_here_wins(
    monkeypatch, capsys, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    code, error = gpa(monkeypatch, capsys, "doctor", "--pipeline", "labtop")
    assert (code, f"{ROOT / 'pipelines.yaml'} has no pipeline" in error) == (2, True)
    pipelines(tmp_path)
    _, error = gpa(monkeypatch, capsys, "doctor", "--pipeline", "labtop")
    assert error.startswith("gpa: pipelines.yaml has no pipeline")


def test_a_corpus_that_is_not_there(monkeypatch, capsys, tmp_path: Path):
    code, error = gpa(
        monkeypatch, capsys, "curate", "--corpus", tmp_path / "none", "--out", tmp_path / "out"
    )
    assert code == 2
    assert "There is no corpus at" in error


def test_a_folder_without_audio(monkeypatch, capsys, tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "notes.txt").write_text("no audio here")
    code, error = gpa(
        monkeypatch, capsys, "curate", "--corpus", tmp_path / "corpus", "--out", tmp_path / "out"
    )
    assert code == 2
    assert "holds no audio file" in error


def test_an_out_that_cannot_be_written_to(recordings: Path, monkeypatch, capsys, tmp_path: Path):
    (tmp_path / "file").touch()
    code, error = gpa(
        monkeypatch, capsys, "curate", "--corpus", recordings, "--out", tmp_path / "file" / "out"
    )
    assert code == 2
    assert "not writable" in error


def test_verifying_what_is_no_run(monkeypatch, capsys, tmp_path: Path):
    code, error = gpa(monkeypatch, capsys, "verify", tmp_path)
    assert code == 2
    assert "holds no run" in error


ABORTING = """
import os, sys
from gpa.runtime import cli

class Thread:
    def __del__(self, abort=os.abort):
        abort()

thread = Thread()
sys.argv = ["gpa", "bench", "nothing"]
"""


@pytest.mark.parametrize(("end", "status"), [("command", 2), ("main", -signal.SIGABRT)])
def test_only_ending_as_a_command_keeps_the_status_where_a_library_s_thread_would_abort(
    end: str, status: int
):
    """`main` shows that the thread of this test does abort the interpreter as it is taken down."""
    program = f"{ABORTING}cli.{end}()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == status
    assert "There is no bench 'nothing'" in ended.stderr
