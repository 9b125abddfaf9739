"""A finished OUT as evaluation reads it: its audio."""

from __future__ import annotations

import numpy as np

from gpa.eval.labels.outputs import Output
from gpa.runtime.artifacts import ArtifactStore
from tests.eval.conftest import CUTS, RATE


def test_a_clip_is_what_was_cut_out_of_its_recording(output: Output):
    whole, _ = output.waveform(output.recordings[0])
    for utterance in output.utterances:
        clip, sample_rate = output.clip(utterance, "normalized")
        assert sample_rate == RATE
        first = round(utterance.start_s * RATE)
        np.testing.assert_array_equal(clip, whole[first : first + len(clip)])
        assert len(clip) == round(utterance.seconds * RATE)


def test_the_clips_of_a_partition_are_read_out_of_one_opened_artifact(output: Output, monkeypatch):
    opened = []
    files = ArtifactStore.files

    def counted(store: ArtifactStore, *place: str):
        opened.append(place)
        return files(store, *place)

    monkeypatch.setattr(ArtifactStore, "files", counted)
    for utterance in output.utterances:
        output.clip(utterance, "normalized")
        output.waveform(output.recordings[0])
    assert len(output.utterances) == len(CUTS)
    assert sorted(opened) == [("normalized", "f", "p"), ("utterances", "f", "p")]
