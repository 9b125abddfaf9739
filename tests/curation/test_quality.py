"""The quality stage: evidence for both versions of an utterance, and the choice between them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation import audio
from gpa.curation.models.protocols import MOS
from gpa.curation.quality import QualityConfig, QualityStage, kept_version
from gpa.curation.tables import QUALITY, UTTERANCES
from gpa.runtime.stage import Artifact, NoAttempts

scores = st.floats(1, 5).map(lambda overall: MOS(overall, overall, overall))


class TestChoice:
    @given(scores, scores, st.floats(0, 2))
    def test_always_and_never_ignore_the_scores(self, normalized, denoised, min_gain):
        assert kept_version(normalized, denoised, "always", min_gain) == "denoised"
        assert kept_version(normalized, denoised, "never", min_gain) == "normalized"

    @given(scores, scores, st.floats(0, 2))
    def test_where_better_asks_for_the_gain(self, normalized, denoised, min_gain):
        gained = denoised.overall - normalized.overall >= min_gain
        expected = "denoised" if gained else "normalized"
        assert kept_version(normalized, denoised, "where_better", min_gain) == expected

    @pytest.mark.parametrize("keep", ["always", "never", "where_better"])
    def test_without_a_denoiser_the_normalised_version_is_kept(self, keep):
        assert kept_version(MOS(1, 1, 1), None, keep, 0) == "normalized"


def utterances(files: dict[str, bytes], *utterance_ids: str) -> dict[str, Artifact]:
    table = [
        {
            "utterance_id": utterance_id, "recording_id": utterance_id.split("-")[0],
            "start_s": 1.0, "end_s": 3.0, "duration_s": 2.0, "sample_rate": 22050, "speaker": "S0",
            "speaker_confidence": 1.0, "speaker_embedding": [], "speech_s": 2.0, "snr_db": 20.0,
            "head_db": -30.0, "tail_db": -30.0, "language": None,
        }
        for utterance_id in utterance_ids
    ]  # fmt: skip
    return {"utterances": Artifact(pa.Table.from_pylist(table, schema=UTTERANCES), files)}


def run(inputs: dict[str, Artifact], attempts=None, **config) -> Artifact:
    stage = QualityStage("quality", QualityConfig(**config), ["utterances"])
    stage.load()
    return stage.process("part-00000", inputs, attempts or NoAttempts())


@pytest.fixture(scope="module")
def clean_and_noisy(shared_speech) -> tuple[bytes, bytes]:
    return tuple(
        audio.encode_flac(soundfile.read(shared_speech / "edge" / name, dtype="float32")[0], 22050)
        for name in ("exact_duplicate.wav", "snr_0db.flac")
    )


def test_the_better_version_of_each_utterance_is_kept(clean_and_noisy):
    clean, noisy = clean_and_noisy
    files = {
        "a-1.normalized.flac": noisy, "a-1.denoised.flac": clean,
        "a-2.normalized.flac": clean, "a-2.denoised.flac": noisy,
        "b-1.normalized.flac": clean,
    }  # fmt: skip
    artifact = run(utterances(files, "a-1", "a-2", "b-1"))
    assert artifact.table.schema == QUALITY
    assert artifact.table["kept_version"].to_pylist() == ["denoised", "normalized", "normalized"]
    first, second, third = artifact.table.to_pylist()
    assert first["normalized_mos"] == second["denoised_mos"]
    assert first["denoised_mos"] == second["normalized_mos"] == third["normalized_mos"]
    assert third["denoised_mos"] is None
    assert not artifact.rejects
    assert artifact.audio_s == 6.0


def test_what_fails_or_is_quarantined_has_no_scores_and_goes_on_as_it_was():
    class Quarantined(NoAttempts):
        quarantined = frozenset({"a"})

    noise = np.random.default_rng(0).normal(0, 0.1, 44100).astype(np.float32)
    files = {
        "b-1.normalized.flac": b"not FLAC",
        "b-2.normalized.flac": audio.encode_flac(noise, 22050),
    }
    artifact = run(utterances(files, "a-1", "a-2", "b-1", "b-2"), Quarantined())
    assert artifact.rejects == ()
    found = {row["utterance_id"]: row for row in artifact.table.to_pylist()}
    assert {key: row["kept_version"] for key, row in found.items()} == dict.fromkeys(
        ("a-1", "a-2", "b-1", "b-2"), "normalized"
    )
    assert "quarantined" in found["a-1"]["error"]
    assert "LibsndfileError" in found["b-1"]["error"]
    assert found["b-2"]["error"] is None
    assert found["b-2"]["normalized_mos"] is not None
