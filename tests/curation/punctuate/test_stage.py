"""The punctuate stage on real speech, with the embedded aligner."""

import json

import pyarrow as pa
import pytest
import soundfile

from gpa.curation.audio import encode_flac
from gpa.curation.models.protocols import Word
from gpa.curation.punctuate.stage import PunctuateConfig, PunctuateStage, pauses_ms
from gpa.curation.tables import ALIGNMENT, CONSENSUS, HYPOTHESES, UTTERANCES
from gpa.runtime.stage import Artifact, NoAttempts

INPUTS = ["utterances", "consensus", "hypotheses/base"]
CLIPS = {
    # A pause of 400 ms after "perfection", and none after "the".
    "a-000000000": (
        "en_lj/LJ001-0016.flac",
        "The, Middle Ages brought calligraphy to perfection and it was natural, therefore.",
    ),
    "a-000009000": ("en_lj/LJ001-0002.mp3", "In 1999 I bought two hundred and six oranges."),
    "b-000000000": ("zh_emilia/emilia_zh_0007411146.mp3", "待在里面比待在上面或者是下面强。"),
}
WORDS = [{"word": "待在", "start_s": 0.1, "end_s": 0.4, "confidence": 0.9}]


class Recorded(NoAttempts):
    """Attempts that remember what they were told."""

    def __init__(self, careful=False, quarantined=()):
        self.careful = careful
        self.quarantined = frozenset(quarantined)
        self.told = []

    def on(self, recording_ids):
        self.told.append(list(recording_ids))
        return super().on(recording_ids)


def table(rows, schema):
    """Rows of a schema in which columns that don't matter here hold nothing in particular."""
    empty = {"string": "", "double": 0.0, "int32": 0, "bool": False}
    fill = {
        field.name: None if field.nullable else empty.get(str(field.type), []) for field in schema
    }
    return pa.Table.from_pylist([fill | row for row in rows], schema=schema)


@pytest.fixture(scope="module")
def inputs(shared_speech):
    utterances, consensus, files = [], [], {}
    for key, (path, text) in CLIPS.items():
        waveform, sample_rate = soundfile.read(shared_speech / path, dtype="float32")
        files[f"{key}.normalized.flac"] = encode_flac(waveform, sample_rate)
        utterances.append(
            {
                "utterance_id": key,
                "recording_id": key[0],
                "duration_s": len(waveform) / sample_rate,
                "sample_rate": sample_rate,
            }
        )
        consensus.append(
            {
                "utterance_id": key,
                "language": path[:2],
                "kept": True,
                "chosen_asr": "base",
                "text": text,
            }
        )
    utterances.append({"utterance_id": "c-000000000", "recording_id": "c", "duration_s": 1.0})
    consensus.append({"utterance_id": "c-000000000", "kept": False, "reason": "disagreement"})
    heard = [{"utterance_id": "b-000000000", "asr": "base", "words": WORDS}]
    return {
        "utterances": Artifact(table(utterances, UTTERANCES), files),
        "consensus": Artifact(table(consensus, CONSENSUS)),
        "hypotheses/base": Artifact(table(heard, HYPOTHESES)),
    }


@pytest.fixture(scope="module")
def stage():
    made = PunctuateStage("alignment", PunctuateConfig(), INPUTS)
    made.load()
    return made


@pytest.fixture(scope="module")
def rows(stage, inputs):
    artifact = stage.process("part-00000", inputs, NoAttempts())
    assert artifact.table.schema == ALIGNMENT
    assert artifact.rejects == ()
    return {row["utterance_id"]: row for row in artifact.table.to_pylist()}


def test_one_row_for_each_utterance_that_consensus_kept(rows):
    assert list(rows) == list(CLIPS)


def test_commas_follow_the_pauses_and_each_edit_is_recorded(rows):
    row = rows["a-000000000"]
    assert row["error"] is None
    assert row["aligner"] == "pocketsphinx"
    assert row["text_before"] == CLIPS["a-000000000"][1]
    assert row["text"] == (
        "The Middle Ages brought calligraphy to perfection, and it was natural, therefore."
    )
    removed, inserted = row["edits"]
    assert (removed["action"], removed["mark"], removed["word_index"]) == ("remove", ",", 0)
    assert removed["pause_ms"] < 50
    assert (inserted["action"], inserted["mark"], inserted["word_index"]) == ("insert", ",", 6)
    assert inserted["pause_ms"] == pytest.approx(400, abs=50)


def test_words_are_the_written_words_in_order_inside_the_clip(rows):
    words = rows["a-000000000"]["words"]
    assert " ".join(word["word"] for word in words) == (
        "The Middle Ages brought calligraphy to perfection and it was natural therefore"
    )
    edges = [edge for word in words for edge in (word["start_s"], word["end_s"])]
    assert edges == sorted(edges)
    assert 0 <= edges[0] < edges[-1] <= 5.4


def test_a_text_that_was_not_said_stays_and_the_row_says_so(rows):
    row = rows["a-000009000"]
    assert row["text"] == row["text_before"]
    assert (row["aligner"], row["words"], row["edits"]) == ("", [], [])
    assert row["error"]


def test_a_language_without_aligner_keeps_its_text_and_gets_the_words_of_its_asr(rows):
    row = rows["b-000000000"]
    assert row["text"] == row["text_before"]
    assert row["error"] == "no aligner for zh"
    assert (row["aligner"], row["words"]) == ("base", WORDS)


def test_recording_by_recording_after_a_crash_gives_the_same_table(stage, inputs):
    whole, careful = Recorded(), Recorded(careful=True)
    at_once = stage.process("part-00000", inputs, whole).table
    assert stage.process("part-00000", inputs, careful).table == at_once
    assert whole.told == [["a", "b"]]
    assert careful.told == [["a"], ["b"]]


@pytest.mark.parametrize("careful", [False, True])
def test_a_quarantined_recording_is_not_touched_and_keeps_its_text(stage, inputs, careful):
    attempts = Recorded(careful, quarantined=["a"])
    artifact = stage.process("part-00000", inputs, attempts)
    assert ["b"] in attempts.told
    assert not any("a" in told for told in attempts.told)
    first = artifact.table.to_pylist()[0]
    assert first["text"] == first["text_before"]
    assert first["error"].startswith("quarantined")
    assert artifact.rejects == ()


def test_nothing_kept_gives_an_empty_table(stage, inputs):
    nothing = inputs | {"consensus": Artifact(CONSENSUS.empty_table())}
    assert stage.process("part-00000", nothing, NoAttempts()).table == ALIGNMENT.empty_table()


def test_identity_holds_the_weights(stage):
    assert json.dumps(stage.model_identity())
    assert all(
        weights.sha256 in stage.model_identity()
        for weights in stage.models()["pocketsphinx"].weights
    )


def test_a_pause_of_300_ms_is_not_a_little_less():
    words = [Word("a", 0.0, 0.1), Word("b", 0.4, 0.7), Word("c", 0.69, 1.0)]
    assert pauses_ms(words) == [300.0, 0.0]
