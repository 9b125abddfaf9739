"""Test sets, each in its published layout, of real speech; what is missing is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gpa.eval.benchmarks.datasets import READERS, other_voices, read_sets
from gpa.runtime.errors import UserError
from tests.curation.curated_out import SPOKEN, good_entries, write_curated
from tests.curation.models.asr.samples import sample_clip

RATE = 16000


def write_audio(path: Path, clip: str, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sample_clip(clip), rate)


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    chapter = tmp_path / "LibriSpeech" / "test-clean" / "61" / "70968"
    for number, clip in enumerate(("counting", "hello_world")):
        write_audio(chapter / f"61-70968-000{number}.flac", f"en/{clip}")
    (chapter / "61-70968.trans.txt").write_text(
        "61-70968-0000 ONE TWO\n61-70968-0001 HELLO WORLD\n"
    )
    return tmp_path / "LibriSpeech"


@pytest.fixture
def aishell(tmp_path: Path) -> Path:
    root = tmp_path / "data_aishell"
    write_audio(root / "wav" / "test" / "S0764" / "BAC009S0764W0121.wav", "zh/pangrama")
    write_audio(root / "wav" / "train" / "S0002" / "BAC009S0002W0122.wav", "zh/jishu")
    (root / "transcript").mkdir()
    (root / "transcript" / "aishell_transcript_v0.8.txt").write_text(
        "BAC009S0002W0122 而 对 楼市\nBAC009S0764W0121 甚至 出现 交易\n", encoding="utf-8"
    )
    return root


@pytest.fixture
def seed_tts(tmp_path: Path) -> Path:
    root = tmp_path / "seedtts_testset"
    for language, clips in (("en", ("counting", "hello_world")), ("zh", ("pangrama", "jishu"))):
        write_audio(root / language / "prompt-wavs" / "a.wav", f"{language}/{clips[0]}")
        write_audio(root / language / "wavs" / "b.wav", f"{language}/{clips[1]}")
    (root / "en" / "meta.lst").write_text("a-b|One two.|prompt-wavs/a.wav|Say this, please.\n")
    (root / "en" / "non_para_reconstruct_meta.lst").write_text(
        "a-b|One two.|prompt-wavs/a.wav|Hello world.|wavs/b.wav\n"
    )
    (root / "zh" / "meta.lst").write_text("a-b|提示|prompt-wavs/a.wav|说这个。\n", encoding="utf-8")
    (root / "zh" / "hardcase.lst").write_text(
        "h-1|提示|prompt-wavs/a.wav|四是四，十是十。\n", encoding="utf-8"
    )
    return root


def test_librispeech_is_read_from_its_root_or_its_part(librispeech):
    for folder in (librispeech, librispeech / "test-clean"):
        (found,) = read_sets("librispeech", str(folder), None, 0)
        assert (found.name, found.task, found.language) == ("librispeech-test-clean", "asr", "en")
        texts = {item.key: item.text for item in found.items}
        assert texts == {"61-70968-0000": "ONE TWO", "61-70968-0001": "HELLO WORLD"}
        np.testing.assert_allclose(found.items[0].audio(), sample_clip("en/counting"), atol=1e-4)
        assert not found.whole


def test_of_aishell_the_test_part_alone_is_read(aishell):
    (found,) = read_sets("aishell-1", str(aishell), None, 0)
    assert [(item.key, item.text) for item in found.items] == [
        ("BAC009S0764W0121", "甚至 出现 交易")
    ]
    assert (found.units, found.published_size) == ("aishell", 7176)


def test_seed_tts_eval_has_a_set_a_list(seed_tts):
    sets = {found.name: found for found in read_sets("seed-tts-eval", str(seed_tts), None, 0)}
    assert set(sets) == {
        *("seed-tts-eval-en", "seed-tts-eval-zh", "seed-tts-eval-zh-hard", "seed-tts-eval-vc-en")
    }
    (said,) = sets["seed-tts-eval-en"].items
    assert (said.key, said.text, said.audio) == ("a-b", "Say this, please.", None)
    np.testing.assert_allclose(said.voice(), sample_clip("en/counting"), atol=1e-4)
    (turned,) = sets["seed-tts-eval-vc-en"].items
    assert turned.text == "Hello world."
    np.testing.assert_allclose(turned.audio(), sample_clip("en/hello_world"), atol=1e-4)


@pytest.mark.parametrize(
    ("set_name", "folder", "lost"),
    [
        ("librispeech", "LibriSpeech", "test-clean/61/70968/61-70968-0001.flac"),
        ("seed-tts-eval", "seedtts_testset", "zh/prompt-wavs/a.wav"),
        ("seed-tts-eval", "seedtts_testset", "en/wavs/b.wav"),
    ],
)
def test_missing_audio_is_an_error(librispeech, seed_tts, tmp_path, set_name, folder, lost):
    (tmp_path / folder / lost).unlink()
    with pytest.raises(UserError, match=f"{Path(lost).name}, which is not there"):
        read_sets(set_name, str(tmp_path / folder), None, 0)


def test_a_clip_without_a_text_is_an_error(aishell):
    write_audio(aishell / "wav" / "test" / "S0764" / "BAC009S0764W0999.wav", "zh/jishu")
    with pytest.raises(UserError, match=r"has no text of .*W0999\.wav"):
        read_sets("aishell-1", str(aishell), None, 0)


def test_audio_that_is_none_is_an_error_when_its_turn_comes(librispeech):
    clip = librispeech / "test-clean" / "61" / "70968" / "61-70968-0000.flac"
    clip.write_bytes(b"no audio at all")
    (found,) = read_sets("librispeech", str(librispeech), None, 0)
    with pytest.raises(UserError, match=r"0000\.flac can't be used"):
        found.items[0].audio()


def test_audio_of_any_rate_is_heard_at_16_khz(librispeech):
    clip = librispeech / "test-clean" / "61" / "70968" / "61-70968-0000.flac"
    soundfile.write(clip, np.stack([sample_clip("en/counting")] * 2, axis=1), 2 * RATE)
    (found,) = read_sets("librispeech", str(librispeech), None, 0)
    assert abs(2 * len(found.items[0].audio()) - len(sample_clip("en/counting"))) <= 2


@pytest.mark.parametrize("name", READERS)
def test_a_folder_of_something_else_is_an_error(name, tmp_path):
    with pytest.raises(UserError, match="holds no"):
        read_sets(name, str(tmp_path), None, 0)


def test_an_unknown_set_names_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"no test set 'tedlium'; choose librispeech"):
        read_sets("tedlium", str(tmp_path), None, 0)


def test_curated_shards_are_measured_in_all_three_tasks(tmp_path):
    entries = good_entries()
    out = write_curated(tmp_path / "out", [entries[:1], entries[1:]])
    recognition, synthesis, conversion = read_sets("curated", str(out), None, 0)
    assert {found.name for found in (recognition, synthesis, conversion)} == {"curated-en"}
    assert [found.task for found in (recognition, synthesis, conversion)] == ["asr", "tts", "vc"]
    assert [item.text for item in recognition.items] == [f"<|im_end|>{name}" for name in SPOKEN]
    clips = [item.audio() for item in recognition.items]
    np.testing.assert_allclose(clips[0], sample_clip("en/counting"), atol=1e-3)
    # Every speaker has one utterance, so each speaks in its own voice and is turned into another.
    assert all(
        np.array_equal(item.voice(), clip)
        for item, clip in zip(synthesis.items, clips, strict=True)
    )
    assert not any(
        np.array_equal(item.voice(), clip)
        for item, clip in zip(conversion.items, clips, strict=True)
    )


def test_of_one_speaker_there_is_no_conversion(tmp_path):
    entries = [entry | {"speaker": "one"} for entry in good_entries()]
    sets = read_sets("curated", str(write_curated(tmp_path / "out", [entries])), None, 0)
    assert [found.task for found in sets] == ["asr", "tts"]
    assert other_voices(["one", "one"], 0) == []


def test_token_shards_are_measured_in_recognition_without_audio(make_shards, tmp_path):
    shards = make_shards(tmp_path, 10)
    english, mandarin = sets = read_sets("tokens", str(tmp_path), None, 0)
    assert [(each.name, each.task) for each in sets] == [("tokens-en", "asr"), ("tokens-zh", "asr")]
    assert {each.tokenized for each in sets} == {shards.provenance}
    assert mandarin.items[0].text == "甚至出现交易几乎停滞的情况。"
    ids = shards.table(["utterance_id"])["utterance_id"].to_pylist()
    row_of = {name: row for row, name in enumerate(ids)}
    assert {item.key for item in (*english.items, *mandarin.items)} == set(row_of)
    for item in english.items:
        expected = shards.tokens(row_of[item.key])
        np.testing.assert_array_equal(item.tokens().glm_tokens, expected.glm_tokens)
        np.testing.assert_array_equal(item.tokens().semantic_tokens, expected.semantic_tokens)
        assert item.audio is None


def test_a_token_shard_that_was_cut_is_an_error(make_shards, tmp_path):
    make_shards(tmp_path, 10)
    shard = tmp_path / "shard-000001.arrow"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(UserError, match=r"shard-000001.arrow does not hold"):
        read_sets("tokens", str(tmp_path), None, 0)


def test_another_voice_is_of_another_speaker():
    speakers = ["a", "a", "b", "c", "b"]
    drawn = other_voices(speakers, 0)
    assert all(speakers[voice] != speaker for voice, speaker in zip(drawn, speakers, strict=True))


def test_a_limit_draws_the_same_utterances_every_time(tmp_path):
    entries = good_entries()
    out = str(write_curated(tmp_path / "out", [entries]))
    first, again = (read_sets("curated", out, 2, 0)[0].items for _ in range(2))
    assert [item.key for item in first] == [item.key for item in again]
    assert len(first) == 2
