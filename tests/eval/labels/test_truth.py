"""Ground truth in the layouts of real corpora."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpa.eval.labels.truth import matches, read_truth
from gpa.runtime.errors import UserError

RTTM = "SPEAKER {name} 1 2.5 1.5 <NA> <NA> ann <NA> <NA>\n"


def test_turns_of_jsonl_win_over_rttm(tmp_path: Path):
    turn = {"start": 1, "end": 2, "speaker": "bob", "text": "Hi, all.", "language": "en"}
    (tmp_path / "talk.jsonl").write_text(json.dumps(turn))
    (tmp_path / "talk.rttm").write_text(RTTM.format(name="talk"))
    truth = read_truth(tmp_path)["talk"]
    assert truth.timed
    assert [(t.speaker, t.text, t.written) for t in truth.turns] == [
        ("bob", "Hi, all.", "Hi, all.")
    ]


def test_an_rttm_of_one_recording_goes_by_its_file_and_of_several_by_their_names(tmp_path: Path):
    (tmp_path / "one.rttm").write_text(RTTM.format(name="whatever"))
    (tmp_path / "all.rttm").write_text(RTTM.format(name="two") + RTTM.format(name="three"))
    truths = read_truth(tmp_path)
    assert sorted(truths) == ["one", "three", "two"]
    assert (truths["two"].turns[0].start_s, truths["two"].turns[0].end_s) == (2.5, 4.0)


def test_a_manifest_gives_whole_files_their_text_and_knows_which_text_is_wrong(tmp_path: Path):
    rows = [
        {"path": "a/x.wav", "text": "HELLO ALL", "text_punct": "Hello, all.", "duration_s": 3.0},
        {"path": "a/y.wav", "text": "wrong", "text_ok": False},
        {"path": "a/z.wav", "text": None},
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    truths = read_truth(tmp_path)
    assert list(truths) == ["x"]
    assert not truths["x"].timed
    assert truths["x"].turns[0].written == "Hello, all."
    assert truths["x"].turns[0].end_s == 3.0


def test_upper_case_text_says_nothing_about_punctuation(tmp_path: Path):
    turn = {"start": 0, "end": 1, "speaker": "a", "text": "I'VE TRIED IT"}
    (tmp_path / "t.jsonl").write_text(json.dumps(turn))
    assert read_truth(tmp_path)["t"].turns[0].written is None


@pytest.mark.parametrize("line", ["SPEAKER x 1 start 2 <NA> <NA> a", "SPEAKER x 1"])
def test_a_broken_line_is_named(tmp_path: Path, line: str):
    (tmp_path / "x.rttm").write_text("\n" + line)
    with pytest.raises(UserError, match=r"x\.rttm, line 2"):
        read_truth(tmp_path)


def test_a_folder_without_truth_is_an_error(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UserError, match="no ground truth"):
        read_truth(tmp_path)


def test_the_development_set_is_read_whole(shared_speech: Path):
    truths = read_truth(shared_speech)
    mix = truths["raw_dev_1"]
    assert len(mix.turns) == 15
    assert mix.noise == ((66.428, 101.372),)
    # Punctuation comes from the clip that a turn was made from.
    assert mix.turns[-1].written.startswith("There's iron, they say, in all our blood")
    # The meeting whose file name has an accent has an RTTM of another name.
    assert {turn.speaker for turn in truths["trñ00"].turns} >= {"MÉO069", "MEE068"}
    assert truths["acoustic_corpus"].words[0].word == "this"
    assert truths["acoustic_corpus"].words[0].start_s == 1.05


def test_the_mixes_are_read_without_their_manifest(shared_speech: Path):
    truths = read_truth(shared_speech / "raw")
    assert sorted(truths) == ["raw_dev_1", "raw_dev_2", "raw_dev_3"]
    assert all(truth.timed for truth in truths.values())


def test_turns_without_times_and_manifests_without_paths_are_named(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"start": null, "end": 1, "speaker": "a"}')
    with pytest.raises(UserError, match=r"t\.jsonl: start and end of turn 1"):
        read_truth(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"text": "hello"}')
    with pytest.raises(UserError, match=r"manifest\.jsonl has a line without `path`"):
        read_truth(tmp_path)


@pytest.mark.parametrize(
    ("code", "known"), [("en-US", "en"), ("ZH", "zh"), ("en+zh", None), ("", None), (None, None)]
)
def test_languages_are_known_by_their_two_letters(tmp_path: Path, code: str | None, known):
    turn = {"start": 0, "end": 1, "speaker": "a", "text": "hello", "language": code}
    (tmp_path / "t.jsonl").write_text(json.dumps(turn))
    assert read_truth(tmp_path)["t"].turns[0].language == known


def test_recordings_of_one_name_are_told_apart_by_their_folders(tmp_path: Path):
    lines = [{"path": f"speaker{each}/0001.wav", "text": each} for each in "AB"]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    truths = read_truth(tmp_path)
    found = matches(["data/speakerA/0001.wav", "data/speakerB/0001.caf"], truths)
    assert [truth.turns[0].text for truth in found.values()] == ["A", "B"]
    # Neither of them, or both alike: nobody knows.
    assert matches(["speakerC/0001.wav"], truths) == {} == matches(["0001.wav"], truths)


def test_lines_about_segments_of_a_file_are_turns_of_it(tmp_path: Path):
    rows = [
        {"audio_filepath": "x.wav", "offset": 5.0, "duration": 2.5, "text": "second"},
        {"audio_filepath": "x.wav", "offset": 1, "duration": 3, "text": "first"},
        {"path": "y.wav", "start": "2", "end": 4, "text": "third", "speaker": "ann"},
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    truths = read_truth(tmp_path)
    assert [(t.start_s, t.end_s, t.text) for t in truths["x"].turns] == [
        (1.0, 4.0, "first"),
        (5.0, 7.5, "second"),
    ]
    (turn,) = truths["y"].of_segment(3.0, 5.0).turns
    assert (turn.start_s, turn.end_s, turn.speaker) == (-1.0, 1.0, "ann")
    assert not truths["y"].of_segment(4.0, 5.0).turns
    # Recordings that are segments of one file have one path.
    assert list(matches(["x.wav", "x.wav"], truths)) == ["x.wav"]


def test_one_truth_belongs_to_the_nearest_of_two_recordings(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.rttm").write_text("SPEAKER 1 1 0.5 1.0 <NA> <NA> ann <NA> <NA>\n")
    truths = read_truth(tmp_path)
    assert list(matches(["a/1.wav", "b/1.wav"], truths)) == ["b/1.wav"]
    assert list(matches(["elsewhere/1.wav"], truths)) == ["elsewhere/1.wav"]


def test_truth_is_as_tolerant_as_manifests(tmp_path: Path):
    (tmp_path / "a.rttm").write_text(
        "\ufeffSPEAKER a 1 0.5 1.0 <NA> <NA> ann <NA> <NA>\n", encoding="utf-8"
    )
    (tmp_path / "manifest.jsonl").write_text(
        '\ufeff{"path": "b.wav", "text": 5, "speaker": 7, "duration_s": "2.5"}\n'
        '{"path": "c.wav", "text": NaN}\n'
        '{"path": "d.wav", "text": "hello", "duration_s": NaN}\n',
        encoding="utf-8",
    )
    (tmp_path / "e.TextGrid").write_text(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 1\n'
        'tiers? <exists>\nsize = 1\nitem []:\n    item [1]:\n        class = "IntervalTier"\n'
        '        name = "phones"\n        xmin = 0\n        xmax = 1\n'
        "        intervals: size = 1\n        intervals [1]:\n            xmin = 0\n"
        '            xmax = 1\n            text = "AH"\n'
    )
    truths = read_truth(tmp_path)
    assert sorted(truths) == ["a", "b", "d"]
    (turn,) = truths["b"].turns
    assert (turn.text, turn.speaker, turn.end_s) == ("5", "7", 2.5)


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("t.jsonl", '{"start": NaN, "end": 1, "speaker": "a"}', r"t\.jsonl: .* of turn 1"),
        ("t.rttm", "SPEAKER t 1 nan 1.0 <NA> <NA> a <NA> <NA>", r"t\.rttm, line 1"),
        (
            "manifest.jsonl",
            '\n{"path": "t.wav", "text": "a", "duration_s": "long"}',
            r"manifest\.jsonl, line 2: duration_s",
        ),
    ],
)
def test_what_is_no_number_is_named_with_its_file_and_line(tmp_path: Path, name, content, where):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=where):
        read_truth(tmp_path)
