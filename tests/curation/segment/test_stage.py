"""Turns to utterances: what is kept is clean, and with what is dropped tiles the recording."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpa.curation.audio import decode_flac, encode_flac
from gpa.curation.models.protocols import Diarization, Turn
from gpa.curation.segment.cut import cut
from gpa.curation.segment.stage import SegmentConfig, SegmentStage
from gpa.curation.tables import NORMALIZED, UTTERANCES
from gpa.runtime.errors import UserError
from gpa.runtime.stage import Artifact, NoAttempts

RATE = 8000
SECONDS = 20
VOICES = np.eye(3, dtype=np.float32)


class OneVoice:
    """Knows who talks from a script, and hears every clip as the first speaker or all alike."""

    def __init__(self, found: Diarization):
        self.found = found

    def diarize(self, waveform, sample_rate):
        if not waveform.any():
            raise ValueError("nothing to hear")
        return self.found

    def embed(self, waveforms, sample_rate):
        return np.repeat(VOICES[:1], len(waveforms), axis=0)


def talk(turns, seconds=SECONDS, seed=0):
    """Syllables of noise inside the turns, a faint floor everywhere."""
    rng = np.random.default_rng(seed)
    t = np.arange(seconds * RATE) / RATE
    talking = np.zeros(len(t), bool)
    for turn in turns:
        talking |= (t >= turn.start_s) & (t < turn.end_s)
    syllables = 0.1 + np.abs(np.sin(4 * np.pi * t))
    wave = 0.2 * syllables * talking * rng.standard_normal(len(t))
    return (wave + 0.001 * rng.standard_normal(len(t))).astype(np.float32)


def diarization(*turns, overlaps=()):
    speakers = 1 + max((turn.speaker for turn in turns), default=-1)
    # All voices alike but the first: doubts about speakers are tested on their own.
    voices = np.concatenate([VOICES[:1], np.repeat(VOICES[1:2], max(speakers - 1, 0), axis=0)])
    return Diarization(tuple(turns), tuple(overlaps), voices[:speakers])


def cut_all(found, waveform, **settings):
    return cut(waveform, RATE, found, OneVoice(found), SegmentConfig(**settings))


def reasons(drops):
    return {drop.reason for drop in drops}


turns = st.lists(
    st.tuples(st.floats(0, SECONDS - 0.1), st.floats(0.05, 8), st.integers(0, 1)).map(
        lambda turn: Turn(turn[0], min(turn[0] + turn[1], SECONDS), turn[2])
    ),
    max_size=6,
)
overlaps = st.lists(
    st.tuples(st.floats(0, SECONDS - 0.1), st.floats(0.01, 2)).map(
        lambda pair: (pair[0], min(pair[0] + pair[1], SECONDS))
    ),
    max_size=2,
)


@settings(max_examples=40)
@given(turns, overlaps, st.integers(0, 3))
def test_utterances_and_drops_tile_the_recording(turns, overlaps, seed):
    waveform = talk(turns, seed=seed)
    utterances, drops = cut_all(diarization(*turns, overlaps=overlaps), waveform, max_s=5.0)
    spans = sorted((each.start, each.end) for each in [*utterances, *drops])
    assert spans[0][0] == 0
    assert spans[-1][1] == len(waveform)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))
    for utterance in utterances:
        assert 1.0 <= (utterance.end - utterance.start) / RATE <= 5.0


def test_an_utterance_is_its_speech_with_a_little_padding():
    found = diarization(Turn(2, 6, 0))
    (utterance,), drops = cut_all(found, talk(found.turns))
    assert 1.7 <= utterance.start / RATE <= 2
    assert 6 <= utterance.end / RATE <= 6.3
    assert utterance.speech == 4 * RATE
    assert reasons(drops) == {"non_speech"}


def test_turns_of_one_speaker_join_over_a_short_pause_only():
    near = diarization(Turn(2, 4, 0), Turn(4.5, 7, 0))
    far = diarization(Turn(2, 4, 0), Turn(5.5, 7, 0))
    assert len(cut_all(near, talk(near.turns))[0]) == 1
    assert len(cut_all(far, talk(far.turns))[0]) == 2


def test_overlapped_speech_is_cut_away_with_a_collar():
    found = diarization(Turn(2, 5, 0), Turn(5.3, 6, 0), Turn(6.4, 9, 0), overlaps=[(5.3, 6)])
    utterances, drops = cut_all(found, talk(found.turns), overlap_collar_ms=100)
    assert len(utterances) == 2
    assert all(u.end / RATE <= 5.2 or u.start / RATE >= 6.1 for u in utterances)
    assert "overlap" in reasons(drops)


def test_a_change_of_speaker_without_a_pause_is_taken_for_cross_talk():
    found = Diarization((Turn(2, 8, 0), Turn(8.02, 14, 1)), (), np.repeat(VOICES[:1], 2, axis=0))
    _, drops = cut_all(found, talk(found.turns), min_speaker_confidence=0.0)
    overlap = [drop for drop in drops if drop.reason == "overlap"]
    assert [(round(d.start / RATE, 1), round(d.end / RATE, 1)) for d in overlap] == [(6.0, 10.0)]


def test_a_part_that_begins_inside_a_word_is_dropped_as_truncated():
    found = diarization(Turn(0, 3.1, 0))
    waveform = talk([Turn(0, 3.1, 0)])[round(0.12 * RATE) :]
    utterances, drops = cut_all(found, waveform)
    assert utterances == []
    assert "truncated" in reasons(drops)


def test_a_long_turn_without_a_pause_is_dropped_and_one_with_a_pause_is_split():
    steady = np.random.default_rng(0).standard_normal(SECONDS * RATE).astype(np.float32)
    steady[: 2 * RATE] *= 0.001
    steady[12 * RATE :] *= 0.001
    found = diarization(Turn(2, 12, 0))
    _, drops = cut_all(found, 0.1 * steady, max_s=6.0)
    assert "too_long" in reasons(drops)
    paused = steady.copy()
    paused[7 * RATE : round(7.3 * RATE)] *= 0.001
    utterances, drops = cut_all(found, 0.1 * paused, max_s=6.0)
    assert len(utterances) == 2
    assert reasons(drops) == {"non_speech"}


def test_a_short_turn_is_dropped():
    found = diarization(Turn(2, 2.4, 0))
    utterances, drops = cut_all(found, talk(found.turns))
    assert (utterances, reasons(drops)) == ([], {"too_short", "non_speech"})


def test_speech_in_another_voice_than_its_speakers_is_dropped():
    found = diarization(Turn(2, 6, 1))
    utterances, drops = cut_all(found, talk(found.turns))
    assert (utterances, "low_speaker_confidence" in reasons(drops)) == ([], True)


class LoudVoice(OneVoice):
    """Hears one person in what is loud and another in what is not."""

    def embed(self, waveforms, sample_rate):
        loud = [np.square(waveform).mean() > 0.05 for waveform in waveforms]
        return np.stack([VOICES[int(each)] for each in loud])


@pytest.mark.parametrize(("louder", "expected"), [(1, 1), (10, 2)])
def test_two_people_whom_the_diarizer_takes_for_one_part_at_the_pause_between_them(
    louder, expected
):
    between = (VOICES[:1] + VOICES[1:2]) / np.sqrt(2)
    found = Diarization((Turn(2, 6, 0), Turn(6.4, 10, 0)), (), between)
    waveform = talk(found.turns)
    waveform[round(6.2 * RATE) :] *= louder
    utterances, _ = cut(waveform, RATE, found, LoudVoice(found), SegmentConfig(cut_position=0.9))
    assert len(utterances) == expected
    assert all(utterance.end / RATE < 6.4 for utterance in utterances[:-1])


def artifact(schema, **columns):
    rows = {name: columns.get(name) for name in schema.names}
    count = len(columns["recording_id"])
    filler = {pa.string(): "", pa.int64(): 0, pa.int32(): 0, pa.float64(): 0.0}
    return pa.table(
        [rows[f.name] if rows[f.name] is not None else [filler[f.type]] * count for f in schema],
        schema=schema,
    )


def stage_inputs(*waveforms):
    ids = [f"rec{n}" for n in range(len(waveforms))]
    seconds = [len(waveform) / RATE for waveform in waveforms]
    files = {f"{name}.flac": encode_flac(w, RATE) for name, w in zip(ids, waveforms, strict=True)}
    return {
        "normalized": Artifact(artifact(NORMALIZED, recording_id=ids, duration_s=seconds), files),
    }


def scripted_stage(found):
    stage = SegmentStage("utterances", SegmentConfig(), ["normalized"])
    stage._diarizer = OneVoice(found)
    return stage


def test_the_stage_writes_one_row_and_one_peak_normalised_file_a_cut():
    found = diarization(Turn(2, 6, 0), Turn(8, 11, 0))
    made = scripted_stage(found).process("part", stage_inputs(talk(found.turns)), NoAttempts())
    assert made.table.schema == UTTERANCES
    rows = made.table.to_pylist()
    assert list(made.files) == [f"{row['utterance_id']}.normalized.flac" for row in rows]
    for row in rows:
        assert row["utterance_id"] == f"rec0-{int(row['start_s'] * 1000):09d}"
        assert row["speaker"] == "rec0-S0"
        assert row["speaker_confidence"] > 0.9
        assert row["snr_db"] > 10
        assert row["head_db"] < -20
        clip, rate = decode_flac(made.files[f"{row['utterance_id']}.normalized.flac"])
        assert len(clip) / rate == pytest.approx(row["duration_s"])
        assert np.abs(clip).max() == pytest.approx(0.6, abs=1e-4)


def test_seconds_kept_and_rejected_add_up_when_a_recording_fails():
    found = diarization(Turn(2, 6, 0))
    silent = np.zeros(3 * RATE, np.float32)
    made = scripted_stage(found).process(
        "part", stage_inputs(talk(found.turns), silent), NoAttempts()
    )
    kept = sum(made.table["duration_s"].to_pylist())
    assert kept + sum(reject.seconds for reject in made.rejects) == pytest.approx(SECONDS + 3)
    (failed,) = [reject for reject in made.rejects if reject.reason == "failed"]
    assert (failed.recording_id, failed.seconds) == ("rec1", 3.0)
    assert "nothing to hear" in failed.detail


def test_a_quarantined_recording_is_not_touched():
    class Quarantine(NoAttempts):
        quarantined = frozenset({"rec0"})

    found = diarization(Turn(2, 6, 0))
    made = scripted_stage(found).process("part", stage_inputs(talk(found.turns)), Quarantine())
    assert made.table.num_rows == 0
    assert [(r.reason, r.seconds) for r in made.rejects] == [("quarantined", float(SECONDS))]


def test_hearing_what_nobody_makes_is_one_sentence():
    with pytest.raises(UserError, match=r"segment\.hears"):
        SegmentStage("utterances", SegmentConfig(hears="denoised"), ["normalized"])
