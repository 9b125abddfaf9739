"""`gpa fetch` and `gpa doctor` against a hub on this machine, with the hub's real client.

They run as processes of their own, because the client reads its settings when it is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.curation.models.diarization.pipeline_folders import layout_3_1
from tests.hub import COMMIT, Hub
from tests.runs import GPA, ROOT, pipelines

# Nothing listens there.
NO_HUB = "http://127.0.0.1:9"
MEBIBYTE = 2**20
# The client writes, and so goes on, in steps of 10 MiB.
WEIGHTS = bytes(range(256)) * (12 * MEBIBYTE // 256)
WHISPER = {
    "model.bin": WEIGHTS,
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "vocabulary.json": b"[]",
    "README.md": b"not read by the model",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub({"owner/whisper": WHISPER, "owner/terms": WHISPER}).serving() as serving:
        yield serving


def panel(folder: Path, *names: str) -> Path:
    """A pipeline whose recognisers are Whispers of those names on the hub."""

    def change(laptop: dict) -> None:
        laptop["resources"] = {"offline": False}
        asr = {
            f"whisper-{number}": {"model": "whisper", "weights": name}
            for number, name in enumerate(names)
        }
        laptop["transcribe"] |= {"identifier": "whisper-0", "asr": asr}
        laptop["consensus"]["panels"] = {"default": {"voters": list(asr)}}

    return pipelines(folder, change)


def gpa(command: str, config: Path, hub_url: str, home: Path) -> tuple[int, str]:
    """Exit status and output of a command whose hub is at a URL and whose cache is in `home`."""
    return run([str(GPA), command, "--config", str(config)], hub_url, home)


def run(arguments: list[str], hub_url: str, home: Path) -> tuple[int, str]:
    """The same of any command, started at the root of the repository."""
    finished = subprocess.run(
        arguments,
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "HF_ENDPOINT": hub_url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"},
    )  # fmt: skip
    return finished.returncode, finished.stdout


def test_what_was_fetched_is_not_fetched_again(hub, tmp_path):
    config, home = panel(tmp_path, "owner/whisper"), tmp_path / "home"
    hub.cut_after["model.bin"] = 11 * MEBIBYTE
    fetched = gpa("fetch", config, hub.url, home)
    assert fetched[0] == 0
    assert [span for path, span in hub.asked if path == "model.bin"] == [
        "",
        f"bytes={10 * MEBIBYTE}-",
    ]
    assert "README.md" not in dict(hub.asked)
    (file,) = home.rglob("model.bin")
    assert file.read_bytes() == WEIGHTS
    names = ("config.json", "model.bin", "tokenizer.json", "vocabulary.json")
    lines = "".join(f"{hashlib.sha256(WHISPER[name]).hexdigest()}  {name}\n" for name in names)
    assert hashlib.sha256(lines.encode()).hexdigest() in fetched[1]
    assert gpa("fetch", config, NO_HUB, home) == fetched


def test_what_was_fetched_stands_in_the_record_of_a_run_without_a_network(hub, tmp_path):
    config, home = panel(tmp_path, "owner/whisper"), tmp_path / "home"
    assert gpa("fetch", config, hub.url, home)[0] == 0
    program = (
        "import json, pathlib\n"
        "from gpa.curation import pipeline\n"
        f"config = pipeline.read_pipeline(pathlib.Path({str(config)!r}), 'laptop')\n"
        "stages = pipeline.build_stages(config)\n"
        "print(json.dumps(pipeline.model_table(pipeline.models(stages))))\n"
    )
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    recorded = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    (weights,) = json.loads(recorded.stdout)["transcribe/whisper-0"]["weights"]
    read = {name: content for name, content in WHISPER.items() if name != "README.md"}
    assert (weights["name"], weights["origin"], weights["revision"]) == (
        "owner/whisper",
        "hub",
        COMMIT,
    )
    assert weights["files"] == {
        name: hashlib.sha256(content).hexdigest() for name, content in read.items()
    }


def test_files_that_are_whole_are_kept_when_another_can_not_be_had(hub, tmp_path):
    config, home = panel(tmp_path, "owner/whisper"), tmp_path / "home"
    hub.broken.add("model.bin")
    status, printed = gpa("fetch", config, hub.url, home)
    assert status == 1
    assert "owner/whisper can't be had from the hub" in printed
    hub.broken.clear()
    hub.asked.clear()
    assert gpa("fetch", config, hub.url, home)[0] == 0
    assert hub.asked == [("model.bin", "")]


def test_terms_that_were_not_accepted_name_the_page_and_the_login(hub, tmp_path):
    hub.gated.add("owner/terms")
    config, home = panel(tmp_path, "owner/terms", "owner/whisper"), tmp_path / "home"
    status, printed = gpa("fetch", config, hub.url, home)
    assert status == 1
    assert "The hub does not give out owner/terms" in printed
    assert list(home.rglob("model.bin"))  # of the other
    status, printed = gpa("doctor", config, hub.url, home)
    assert status == 1
    (line,) = [line for line in printed.splitlines() if "owner/terms" in line]
    assert f"Accept the terms on {hub.url}/owner/terms" in line
    assert "`hf auth login`" in line
    assert any("transcribe/whisper-1" in line and "ok" in line for line in printed.splitlines())


def test_every_model_has_its_own_line_whatever_the_others_lack(hub, tmp_path):
    config = panel(tmp_path, "owner/nowhere", "owner/whisper", "/no/such/folder")
    status, printed = gpa("doctor", config, hub.url, tmp_path / "home")
    assert status == 1
    lines = {line.split()[1]: line for line in printed.splitlines() if "transcribe/" in line}
    assert f"There is no {hub.url}/owner/nowhere, or it is private" in lines["transcribe/whisper-0"]
    assert "`gpa fetch` gets them" in lines["transcribe/whisper-1"]
    assert "are nowhere" in lines["transcribe/whisper-2"]


def test_a_hub_that_does_not_answer_is_said(tmp_path):
    config = panel(tmp_path, "owner/whisper")
    _, printed = gpa("doctor", config, NO_HUB, tmp_path / "home")
    assert "The hub does not answer" in printed


def diarizing(folder: Path, name: str) -> Path:
    """A pipeline whose diarizer is of that name on the hub."""

    def change(laptop: dict) -> None:
        laptop["resources"] = {"offline": False}
        laptop["segment"]["diarizer"] = {"model": "pyannote", "pipeline": name}

    return pipelines(folder, change)


DIARIZER_3_1 = "pyannote/speaker-diarization-3.1"
SEGMENTATION = "pyannote/segmentation-3.0"
EMBEDDING = "pyannote/wespeaker-voxceleb-resnet34-LM"


def test_a_diarization_pipeline_is_fetched_with_its_models_and_then_asks_no_hub(hub, tmp_path):
    made = layout_3_1(tmp_path / "made")
    segmentation = made.parent / "models" / "pytorch_model.bin"
    text = (made / "config.yaml").read_text()
    for path, name in ((str(segmentation), SEGMENTATION), ("beside/pytorch_model.bin", EMBEDDING)):
        text = text.replace(path, name)
    hub.repositories |= {
        DIARIZER_3_1: {"config.yaml": text.encode()},
        SEGMENTATION: {"pytorch_model.bin": segmentation.read_bytes()},
        EMBEDDING: {"pytorch_model.bin": (made / "beside" / "pytorch_model.bin").read_bytes()},
    }
    config, home = diarizing(tmp_path, DIARIZER_3_1), tmp_path / "home"
    assert gpa("fetch", config, hub.url, home)[0] == 0
    load = (
        "from gpa.curation.models.diarization.pyannote import Pyannote, PyannoteConfig\n"
        f"Pyannote(PyannoteConfig(pipeline={DIARIZER_3_1!r})).load()\n"
        "print('loaded')"
    )
    status, printed = run([sys.executable, "-c", load], NO_HUB, home)
    assert (status, printed.splitlines()[-1:]) == (0, ["loaded"])


@pytest.mark.parametrize(
    ("pipeline", "gated"),
    [
        (DIARIZER_3_1, SEGMENTATION),
        ("pyannote/speaker-diarization-community-1", "pyannote/speaker-diarization-community-1"),
    ],
)
def test_the_terms_of_a_diarization_pipeline_are_asked_for_before_a_run(
    hub, tmp_path, pipeline, gated
):
    hub.repositories |= {name: {} for name in (pipeline, gated, EMBEDDING)}
    hub.gated.add(gated)
    _, printed = gpa("doctor", diarizing(tmp_path, pipeline), hub.url, tmp_path / "home")
    (line,) = [line for line in printed.splitlines() if "segment/pyannote" in line]
    assert f"Accept the terms on {hub.url}/{gated}, then log in with `hf auth login`" in line
