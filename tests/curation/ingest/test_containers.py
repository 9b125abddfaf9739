"""What others' libraries write is read where it lies, and what is damaged in it is a row."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import lhotse
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import webdataset

from gpa.curation.audio import decode
from gpa.curation.ingest.corpus import RawFile, find
from gpa.curation.ingest.stage import PROBED, IngestConfig, arrange, chunks, probe_stage
from gpa.runtime.errors import UserError
from gpa.runtime.stage import Artifact, NoAttempts

RATE = 16000
TEXTS = ("one two", "three", "four five six")


def clip(number: int, seconds: float = 0.5) -> np.ndarray:
    noise = np.random.default_rng(number).uniform(-0.5, 0.5, round(seconds * RATE))
    return noise.astype(np.float32)


def coded(number: int, kind: str = "FLAC") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, clip(number), RATE, format=kind)
    return buffer.getvalue()


@pytest.fixture
def wavs(tmp_path: Path) -> list[str]:
    """Two files of three clips and one, in stereo: the second channel is silent."""
    paths = [str(tmp_path / "talk 1.wav"), str(tmp_path / "talk 2.wav")]
    first = np.concatenate([clip(0), clip(1)])
    soundfile.write(paths[0], np.stack([first, np.zeros_like(first)], axis=1), RATE)
    soundfile.write(paths[1], clip(2), RATE)
    return paths


def heard(file: RawFile) -> np.ndarray:
    """The samples of a recording, its first channel."""
    waveform, rate = decode(file.uri)
    last = None if file.end_s is None else round(file.end_s * rate)
    return waveform[file.channel or 0, round(file.start_s * rate) : last]


def matches(files: list[RawFile], tolerance: float = 1e-3) -> bool:
    """Whether there are the three clips with what is said of each."""
    told = sorted(files, key=lambda file: TEXTS.index(json.loads(file.given)["text"]))
    return [file.error for file in told] == [None] * 3 and all(
        len(heard(file)) == len(clip(n)) and np.abs(heard(file) - clip(n)).max() < tolerance
        for n, file in enumerate(told)
    )


def corpus_of(files: list[RawFile]) -> list[dict]:
    """Rows of `corpus.parquet`, by path."""
    probed = [
        probe_stage().process(name, {"listing": Artifact(table)}, NoAttempts()).table
        for name, table in chunks(files).items()
    ]
    table = arrange(files, pa.concat_tables([PROBED.empty_table(), *probed]), {}, IngestConfig())
    return table.table.to_pylist()


def supervision(number: int, recording: str, start: float) -> lhotse.SupervisionSegment:
    return lhotse.SupervisionSegment(
        f"s{number}", recording, start, 0.5, text=TEXTS[number], speaker="ann", language="English"
    )


def cuts(wavs: list[str]) -> lhotse.CutSet:
    recordings = [lhotse.Recording.from_file(path) for path in wavs]
    whole = recordings[1].to_cut()
    whole.supervisions = [supervision(2, recordings[1].id, 0.0)]
    first = recordings[0]
    return lhotse.CutSet.from_cuts(
        [
            lhotse.MonoCut("a", 0.0, 0.5, 0, [supervision(0, first.id, 0.0)], recording=first),
            lhotse.MonoCut("b", 0.5, 0.5, 0, [supervision(1, first.id, 0.0)], recording=first),
            whole,
        ]
    )


def without_languages(some: lhotse.CutSet) -> lhotse.CutSet:
    for cut in some:
        for said in cut.supervisions:
            said.language = "en"
    return some


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_lhotse_cuts_are_segments_of_their_recordings(tmp_path: Path, wavs, name: str):
    without_languages(cuts(wavs)).to_file(tmp_path / name)
    files = find(str(tmp_path / name))
    assert matches(files)
    assert {file.language for file in files} == {"en"}
    assert {json.loads(file.given)["speaker"] for file in files} == {"ann"}


def test_lhotse_recordings_are_files(tmp_path: Path, wavs):
    lhotse.RecordingSet.from_recordings(map(lhotse.Recording.from_file, wavs)).to_file(
        tmp_path / "recordings.jsonl.gz"
    )
    found = find(str(tmp_path / "recordings.jsonl.gz"))
    assert [file.path for file in found] == wavs
    assert [(file.error, file.start_s, file.end_s) for file in found] == [(None, 0.0, None)] * 2


def test_a_cut_that_is_no_part_of_a_file_is_a_row(tmp_path: Path, wavs):
    some = list(without_languages(cuts(wavs)))
    odd = [some[0].pad(2.0), some[1].perturb_speed(0.9), some[2]]
    lhotse.CutSet.from_cuts(odd).to_file(tmp_path / "cuts.jsonl")
    found = {file.error for file in find(str(tmp_path / "cuts.jsonl"))}
    assert found == {
        None,
        "it is a MixedCut, not a part of one recording",
        "its recording is to be transformed: store it so",
    }


def test_lhotse_shar_is_read_in_its_tars(tmp_path: Path, wavs):
    (tmp_path / "shar").mkdir()
    without_languages(cuts(wavs)).to_shar(
        str(tmp_path / "shar"), {"recording": "flac"}, shard_size=2
    )
    found = [file for file in find(str(tmp_path / "shar")) if file.claimed]
    assert matches(found)


def emilia(path: Path, kind: str = "flac", count: int = 3) -> None:
    with webdataset.TarWriter(str(path)) as tar:
        for number in range(count):
            said = {
                "id": f"EN_{number}", "wav": f"mp3/EN_{number}.mp3", "text": TEXTS[number],
                "duration": 0.123, "speaker": "ann", "language": "en", "dnsmos": 3.2,
            }  # fmt: skip
            key = f"EN_B00000_S00000_W{number:06d}"
            tar.write({"__key__": key, kind: coded(number, kind.upper()), "json": said})


def test_a_webdataset_tar_is_read_by_offset(tmp_path: Path):
    emilia(tmp_path / "EN-B000000.tar")
    for corpus in (tmp_path, tmp_path / "EN-B000000.tar"):
        found = find(str(corpus))
        assert matches(found)
        assert all(file.path.startswith("EN-B000000.tar/EN_B0") for file in found)
        # Times in a description are those of what the clip was cut from.
        assert {(file.language, file.end_s) for file in found} == {("en", None)}
        assert json.loads(found[0].given)["duration"] == 0.123
    assert {row["state"] for row in corpus_of(find(str(tmp_path)))} == {"recording"}
    assert [path.name for path in tmp_path.iterdir()] == ["EN-B000000.tar"]


def test_emilias_own_mp3_are_read(tmp_path: Path):
    emilia(tmp_path / "EN-B000000.tar", "mp3")
    assert [row["state"] for row in corpus_of(find(str(tmp_path)))] == ["recording"] * 3


def test_a_broken_tar_and_a_broken_description_are_rows(tmp_path: Path):
    emilia(tmp_path / "whole.tar")
    data = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    (tmp_path / "none.tar").write_bytes(b"no tar at all" * 100)
    (tmp_path / "other.tar").write_bytes(data.replace(b'"text": "three"', b'"text": "three,'))
    rows = {row["path"]: row for row in corpus_of(find(str(tmp_path)))}
    states = {path: (row["state"], row["reason"]) for path, row in rows.items()}
    assert states["cut.tar"] == states["none.tar"] == ("rejected", "unreadable")
    assert "it is no whole tar" in rows["cut.tar"]["detail"]
    assert states["other.tar/EN_B00000_S00000_W000001.flac"] == ("rejected", "unreadable")
    kept = {path for path, (state, _) in states.items() if state == "recording"}
    assert len(kept) == 3  # the others have the same bytes as these
    assert [state for path, (state, reason) in states.items() if reason == "duplicate"]


def test_a_tar_without_audio_is_ignored(tmp_path: Path):
    with webdataset.TarWriter(str(tmp_path / "pictures.tar")) as tar:
        tar.write({"__key__": "a", "jpg": b"no picture", "json": {}})
    (row,) = corpus_of(find(str(tmp_path)))
    assert (row["state"], row["detail"]) == ("ignored", "it holds no audio")


def test_a_manifest_may_name_members_of_tars(tmp_path: Path):
    emilia(tmp_path / "a.tar")
    row = {"path": "a.tar/EN_B00000_S00000_W000001.flac", "start": 0.1, "end": 0.3, "text": "three"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    (found,) = find(str(tmp_path / "m.jsonl"))
    assert np.abs(heard(found) - clip(1)[1600:4800]).max() < 1e-3


def written(path: Path, embed: bool) -> None:
    """What `datasets` writes of three clips, their bytes in the table or in files beside it."""
    features = datasets.Features(
        {
            "audio": datasets.Audio(sampling_rate=RATE),
            "text": datasets.Value("string"),
            "language": datasets.Value("string"),
            "id": datasets.Value("int64"),
        }
    )
    rows = [
        {
            "audio": {"bytes": coded(number) if embed else None, "path": f"{number}.flac"},
            "text": text,
            "language": "en",
            "id": 7 + number,
        }
        for number, text in enumerate(TEXTS)
    ]
    table = pa.Table.from_pylist(rows, features.arrow_schema)
    if embed:  # of arrays it would ask torchcodec, which needs a GPU's libraries here
        datasets.Dataset(table, datasets.DatasetInfo(features=features)).to_parquet(
            str(path), batch_size=2
        )
        return
    pq.write_table(table, path, row_group_size=2)
    for number in range(len(TEXTS)):
        (path.parent / f"{number}.flac").write_bytes(coded(number))


@pytest.mark.parametrize("embed", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_parquet_with_an_audio_struct_is_read_row_by_row(tmp_path: Path, embed: bool, alone: bool):
    folder = tmp_path / "data"
    folder.mkdir()
    written(folder / "train-00000-of-00001.parquet", embed)
    found = find(str(folder / "train-00000-of-00001.parquet" if alone else folder))
    named = [file for file in found if json.loads(file.given)]
    assert matches(named)
    assert [json.loads(file.given)["id"] for file in named] == [7, 8, 9]
    assert {row["state"] for row in corpus_of(found)} <= {"recording", "rejected"}


def test_parquet_without_audio_is_ignored_and_a_broken_one_is_a_row(tmp_path: Path):
    datasets.Dataset.from_dict({"text": list(TEXTS)}).to_parquet(str(tmp_path / "texts.parquet"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    broken, texts = corpus_of(find(str(tmp_path)))
    assert (broken["state"], broken["reason"]) == ("rejected", "unreadable")
    assert (texts["state"], texts["detail"]) == ("ignored", "it holds no audio")


def kaldi(folder: Path, **tables: str) -> str:
    for name, lines in tables.items():
        (folder / {"wav": "wav.scp"}.get(name, name)).write_text(lines)
    return str(folder)


def test_a_kaldi_folder_is_what_its_tables_say(tmp_path: Path, wavs):
    folder = kaldi(
        tmp_path,
        wav=f"r1 {wavs[0]}\nr2 talk 2.wav\nr3 sph2pipe -f wav x.sph |\n",
        segments="ann-a r1 0.0 0.5\nann-b r1 0.5 1.0\nann-c r2 0 -1\nann-d r3 1 2\n",
        text="ann-a one two\nann-b three\nann-c four five six\n",
        utt2spk="ann-a ann\nann-b ann\nann-c ann\nann-d ann\n",
    )
    found = list(find(folder))
    (piped,) = (file for file in found if file.error)
    assert piped.error.startswith("it is a command, and none is run")
    found.remove(piped)
    for file in found:
        assert file.channel is None
    assert matches(found)
    assert {json.loads(file.given)["speaker"] for file in found} == {"ann"}


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"wav": "a x.wav\na y.wav\n"}, "wav.scp, line 2: 'a' stands in line 1"),
        ({"wav": "a x.wav\n", "segments": "u b 0 1\n"}, "segments, line 1: not <utterance>"),
        ({"wav": "a x.wav\n", "segments": "u a 2 1\n"}, "segments, line 1: the segment ends"),
        ({"wav": "a x.wav\n", "utt2lang": "a klingonish\n"}, "wav.scp, line 1: `language`"),
    ],
)
def test_a_kaldi_folder_that_contradicts_itself_is_one_sentence(tmp_path: Path, tables, says: str):
    with pytest.raises(UserError, match=says):
        find(kaldi(tmp_path, **tables))
