"""What people type: the three tasks on files, and one sentence for whatever is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gpa.runtime import cli
from tests.models import make_speech
from tests.runs import short_answers


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory) -> Path:
    """A run with two checkpoints, recordings good and bad, and a config of short answers."""
    folder = tmp_path_factory.mktemp("people")
    last = folder / "run" / "checkpoint-10"
    tiny_model.save_pretrained(last)
    (last / "trainer_state.json").write_text("{}")
    older = folder / "run" / "checkpoint-9"
    older.mkdir()
    (older / "trainer_state.json").write_text("{}")
    soundfile.write(folder / "voice.wav", make_speech(24_000, seed=1), 16_000)
    stereo = np.stack([make_speech(44_100, seed=2)] * 2, axis=1)
    soundfile.write(folder / "talk.mp3", stereo, 44_100)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "short.wav", make_speech(300), 16_000)
    (folder / "rubbish.wav").write_bytes(b"RIFF no recording")
    short_answers(folder, asr=20, tts=20, vc=20)
    return folder


@pytest.fixture
def gpa(folder, monkeypatch, capsys):
    """Run `gpa` in this process, in the folder; returns status, output and errors."""
    monkeypatch.chdir(folder)
    # Half of two cores: other tests run beside this one.
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")

    def run(*arguments: str, checkpoint: str = "run") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["gpa", *arguments, "--checkpoint", checkpoint])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        return stopped.value.code, printed.out, printed.err

    return run


@pytest.mark.parametrize(
    "task",
    [
        ("say", "Good morning"),
        ("say", "Good morning", "--voice-text", "We are glad."),
        ("convert", "talk.mp3"),
    ],
)
def test_speech_is_written_as_wav(gpa, folder, task):
    code, out, err = gpa(
        *(*task, "--voice", "voice.wav"), "--out", "new/answer.wav", "--tokenizer", "random"
    )
    assert (code, out) == (0, ""), err
    written = soundfile.info(folder / "new" / "answer.wav")
    # 20 tokens of 20 ms.
    assert (written.frames, written.samplerate, written.subtype) == (6_400, 16_000, "PCM_16")
    assert "WARNING: made with a small random tokenizer" in err
    assert (
        f"cut off at max_new_tokens of eval.generation.{'tts' if task[0] == 'say' else 'vc'}" in err
    )
    assert "new/answer.wav: 0.40 s of speech" in err
    assert [path.name for path in (folder / "new").iterdir()] == ["answer.wav"]


def test_one_recording_gives_its_text_alone(gpa):
    code, out, err = gpa("transcribe", "talk.mp3")
    assert code == 0, err
    assert out.endswith("\n")
    assert len(out) > 10
    assert "talk.mp3" not in out


def test_a_bad_recording_does_not_stop_the_others(gpa):
    code, out, err = gpa("transcribe", "silent.wav", "talk.mp3", "none.wav", "voice.wav")
    assert code == 2
    assert "silent.wav: The audio is silent; hand in a recording of speech." in err
    assert "none.wav can't be used: it can't be opened" in err
    assert "talk.mp3: " in out
    assert "\nvoice.wav: " in out


SAY = ("say", "Yes", "--out", "x.wav", "--voice")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*SAY, "none.wav"), "none.wav can't be used: it can't be opened"),
        ((*SAY, "rubbish.wav"), "rubbish.wav can't be used: no audio can be decoded from it."),
        ((*SAY, "silent.wav"), "The voice is silent; hand in a recording of speech."),
        ((*SAY, "short.wav"), "it has 300 samples at 16 kHz and one token takes 400."),
        (("say", "", "--out", "x.wav", "--voice", "voice.wav"), "There is no text to say"),
        (("say", "Yes", "--out", "x.mp3", "--voice", "voice.wav"), "ends in .wav"),
        (("say", "Yes", "--out", "voice.wav/x.wav", "--voice", "voice.wav"), "can't be written"),
        ((*SAY, "voice.wav", "--tokenizer", "smal"), "did you mean 'small'?"),
        ((*SAY, "voice.wav", "--config", "none.yaml"), "There is no config file none.yaml"),
        (("transcribe", "rubbish.wav"), "no audio can be decoded"),
    ],
)
def test_what_is_wrong_is_one_sentence(gpa, folder, arguments, says):
    code, out, err = gpa(*arguments)
    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (folder / "x.wav").exists()


def test_no_checkpoint_is_one_sentence(gpa):
    code, _, err = gpa(*SAY, "voice.wav", checkpoint="nowhere")
    assert code == 2
    assert err.splitlines()[-1].startswith("gpa: nowhere holds no checkpoint")
