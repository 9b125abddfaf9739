"""OUTs whose every row is known, made without models: hypotheses are texts with errors put in.

Consensus is the real one. Speech is bursts of a tone, a burst a word, so that players play and
outlines show something.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpa.curation.audio import encode_flac
from gpa.curation.consensus.stage import ConsensusConfig, PanelConfig, columns, decide
from gpa.curation.hypotheses import Heard
from gpa.curation.ingest.stage import CORPUS
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.pipeline import RECORDINGS_FINGERPRINT
from gpa.curation.shards import MANIFEST_SCHEMA, Shard, write_shard
from gpa.curation.transcribe.early_exit import EarlyExitConfig, early_exits
from gpa.runtime.artifacts import ArtifactStore, parquet_bytes
from gpa.runtime.record import LAYOUT_VERSION
from gpa.runtime.stage import Artifact, Reject
from gpa.runtime.storage import Store
from tests.curation.plans import missing_shards
from tests.tables import artifact, table

RATE = 16000
ATTACK = "<script>alert(1)</script>"
NASTY_PATH = 'it\'s "quoted" & <b>bold</b>.wav'
PROSE = (
    "the old house by river was quiet when morning came and nobody had heard a word of what "
    "happened there during night so we walked down to look for ourselves but found only some "
    "water bread light people time years world right think great small where much before"
)
VOCABULARY = PROSE.split()
ASRS = ("alpha", "beta", "gamma", "delta", "epsilon")
STAGES = {
    "probed": "ingest",
    "normalized": "normalize",
    "utterances": "segment",
    "quality": "quality",
    "hypotheses/": "transcribe",
    "consensus": "consensus",
    "alignment": "punctuate",
    "packaged": "package",
}


def consensus_config(
    asrs: Sequence[str], max_pwer: float, verifier: str | None, max_outlier_distance: float | None
):
    """One panel of all the recognisers, for every language."""
    panel = PanelConfig(voters=tuple(asrs), verifier=verifier)
    return ConsensusConfig(
        panels={"default": panel}, max_pwer=max_pwer, max_outlier_distance=max_outlier_distance
    )


def record(asrs: Sequence[str], config: ConsensusConfig, partitions: Sequence[str]) -> dict:
    """The content of a finished run.json."""
    names = [
        name
        for stage in STAGES
        for name in ([f"hypotheses/{asr}" for asr in asrs] if stage.endswith("/") else [stage])
    ]
    stages = {
        name: {
            "step": "transcribe" if "/" in name else STAGES[name],
            "fingerprint": "1",
            "partitions": len(partitions),
            "cached": 1 if name == "normalized" else 0,
            "wall_s": 12.5,
            "worker_s": 20.0,
            "cpu_s": 15.0,
            "peak_mb": 512.0,
            "retries": 1,
            "audio_s": 3600.0,
        }
        for name in names
    }
    return {
        "layout_version": LAYOUT_VERSION,
        "finished": True,
        "pipeline": "synthetic",
        "corpus": "corpus",
        "config": {
            "description": "made up",
            "corpus_licence": "CC-BY-4.0",
            "denoise": {"model": "none"},
            "consensus": config.model_dump(mode="json"),
        },
        "models": {
            f"transcribe/{asr}": {
                "model": f"recogniser {asr}",
                "library": "made-up 1.0",
                "licence": "CC-BY-NC-4.0" if asr == "beta" else "MIT",
                "weights": [{"name": asr, "origin": "wheel", "sha256": "0" * 64, "licence": "MIT"}],
            }
            for asr in asrs
        },
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T01:00:00Z",
        "versions": {"gpa": "0.1.0"},
        "machine": {"host": "here", "system": "Linux", "cpus": 2, "python": "3.11"},
        "stages": stages,
        "partitions": list(partitions),
        "fingerprints": {
            "recordings": RECORDINGS_FINGERPRINT,
            **dict.fromkeys(names, "1"),
        },
    }


def misheard(words: Sequence[str], share: float, chance: np.random.Generator) -> str:
    """A text in which about `share` of the words are replaced, left out or doubled."""
    said = []
    for word in words:
        if chance.random() >= share:
            said.append(word)
        elif (kind := chance.integers(3)) == 0:
            said.append(str(chance.choice(VOCABULARY)))
        elif kind == 1:
            said += [word, word]
    return " ".join(said)


def fingerprint(stage: str) -> str:
    """Under which a Builder writes the artifacts of a stage."""
    return RECORDINGS_FINGERPRINT if stage == "recordings" else "1"


class Builder:
    """Writes an OUT, partition by partition."""

    def __init__(
        self,
        folder: Path,
        asrs: Sequence[str] = ASRS[:3],
        max_pwer: float = 0.15,
        verifier: str | None = None,
        seed: int = 7,
        audio: bool = True,
        early_exit: EarlyExitConfig | None = None,
        max_outlier_distance: float | None = None,
    ):
        self.artifacts = ArtifactStore(Store(str(folder)))
        self.asrs = tuple(asrs)
        self.heard = (*asrs, *([verifier] if verifier else []))
        self.config = consensus_config(asrs, max_pwer, verifier, max_outlier_distance)
        self.early_exit = early_exit
        self.rules = early_exits(early_exit, self.heard, self.config)
        self.chance = np.random.default_rng(seed)
        self.audio = audio
        self.partitions: list[str] = []
        self.corpus: list[dict[str, Any]] = []
        self.manifest: list[dict[str, Any]] = []
        self.parts: list[tuple[str, int, int]] = []

    def partition(self, name: str, paths: Sequence[str], utterances: int) -> dict[str, Artifact]:
        """Recordings of so many utterances each, with what every stage makes of them."""
        tables: dict[str, list[dict[str, Any]]] = {
            stage: [] for stage in ("recordings", "normalized", "utterances", "quality",
                                    "consensus", "alignment", "packaged")
        }  # fmt: skip
        heard: dict[str, list[dict[str, Any]]] = {asr: [] for asr in self.heard}
        rejects: dict[str, list[Reject]] = {"utterances": [], "consensus": []}
        files: dict[str, dict[str, bytes]] = {"normalized": {}, "utterances": {}}
        for number, path in enumerate(paths):
            recording = f"{name}-r{number}"
            at, whole = 0.0, []
            for _ in range(utterances):
                gap = float(np.round(self.chance.uniform(0.5, 2.0), 3))
                reason = "truncated" if self.chance.random() < 0.1 else "non_speech"
                rejects["utterances"].append(
                    Reject(recording, reason, gap, start_s=at, end_s=at + gap, value=0.5)
                )
                at += gap
                words = [
                    str(w) for w in self.chance.choice(VOCABULARY, self.chance.integers(3, 16))
                ]
                if not at - gap and not number:
                    words = ["he", "wrote", ATTACK, *words]
                spoken = [0.32] * len(words)
                duration = round(sum(spoken) + 0.4, 3)
                key = f"{recording}-{round(at * 1000):09d}"
                sound = self._sound(words, duration) if self.audio else np.zeros(1, np.float32)
                if self.audio:
                    files["utterances"][f"{key}.normalized.flac"] = encode_flac(sound, RATE)
                    whole += [np.zeros(round(gap * RATE), np.float32), sound]
                cut = {
                    "utterance_id": key, "recording_id": recording, "start_s": at,
                    "end_s": at + duration, "duration_s": duration, "sample_rate": RATE,
                    "speaker": f"{recording}-S{self.chance.integers(2)}",
                    "speaker_confidence": 0.9, "speech_s": duration - 0.4,
                    "snr_db": float(self.chance.normal(22, 8)), "language": "en",
                }  # fmt: skip
                self._utterance(cut, path, words, tables, heard, rejects)
                at += duration
            tables["recordings"].append(
                {"recording_id": recording, "path": path, "duration_s": at + 0.02}
            )
            tables["normalized"].append({"recording_id": recording, "duration_s": at})
            if self.audio:
                files["normalized"][f"{recording}.flac"] = encode_flac(np.concatenate(whole), RATE)
            self.corpus.append(
                {"recording_id": recording, "path": path, "duration_s": at,
                 "state": "recording", "partition": name}
            )  # fmt: skip
        tables |= {f"hypotheses/{asr}": rows for asr, rows in heard.items()}
        made = {
            stage: artifact(stage, *rows, files=files.get(stage), rejects=rejects.get(stage, ()))
            for stage, rows in tables.items()
        }
        for stage, one in made.items():
            self.artifacts.write(stage, fingerprint(stage), name, one)
        self.partitions.append(name)
        self.manifest += tables["packaged"]
        self.parts.append((name, 0, len(tables["packaged"])))
        return made

    def _utterance(self, cut, path, words, tables, heard, rejects) -> None:
        key, duration = cut["utterance_id"], cut["duration_s"]
        # Drawn for all, so that another config draws the same utterances.
        has_edit = self.chance.random() < 0.4
        hard = float(self.chance.choice([0.0, 0.02, 0.08, 0.2, 0.4]))
        texts = {
            asr: misheard(words, hard * (1 + k), self.chance) for k, asr in enumerate(self.heard)
        }
        found: dict[str, Heard] = {}
        for asr, text in texts.items():
            rule = self.rules.get(asr)
            skipped = rule.proof(found, "en", duration) if rule else None
            found[asr] = skipped or Hypothesis(text=text)
        row = decide(
            self.config.panels["default"],
            found,
            "en",
            duration,
            self.config,
        )
        tables["utterances"].append(cut)
        tables["quality"].append({
            "utterance_id": key, "kept_version": "normalized",
            "normalized_mos": dict.fromkeys(("overall", "signal", "background"), float(self.chance.uniform(1.5, 4.2))),
            "denoised_mos": dict.fromkeys(("overall", "signal", "background"), float(self.chance.uniform(2.0, 4.5))),
            "bandwidth_hz": float(self.chance.choice([3900, 7800, 11800])), "clipped_share": 0.0,
            "level_dbfs": -18.0, "noise_floor_dbfs": -60.0,
        })  # fmt: skip
        for asr, result in found.items():
            heard[asr].append(
                {"utterance_id": key, "asr": asr, "text": result.text}
                if isinstance(result, Hypothesis)
                else {"utterance_id": key, "asr": asr, "text": "", "error": "skipped", **vars(result)}
            )  # fmt: skip
        tables["consensus"].append({"utterance_id": key, **columns(row)})
        if not row.kept:
            rejects["consensus"].append(
                Reject(cut["recording_id"], row.reason or "", duration, key, cut["start_s"],
                       cut["end_s"], row.value)
            )  # fmt: skip
            return
        written = (row.text or "").split()
        times = [
            {"word": word, "start_s": 0.2 + 0.32 * k, "end_s": 0.2 + 0.32 * k + 0.28}
            for k, word in enumerate(written)
        ]
        edits = [{"action": "insert", "mark": ",", "word_index": 1, "pause_ms": 340.0}]
        edits = edits if len(written) > 4 and has_edit else []
        text = " ".join(written)
        tables["alignment"].append({
            "utterance_id": key, "text_before": text, "aligner": "made-up", "words": times,
            "text": text.replace(" ".join(written[:2]), " ".join(written[:2]) + ",", 1) if edits else text,
            "edits": edits,
        })  # fmt: skip
        tables["packaged"].append({
            **{name: cut[name] for name in ("utterance_id", "recording_id", "start_s", "end_s",
                                            "duration_s", "speaker", "language", "snr_db")},
            "source": path, "text": text, "pwer": row.pwer, "kept_version": "normalized",
        })  # fmt: skip

    def _sound(self, words: Sequence[str], duration: float) -> np.ndarray:
        sound = np.zeros(round(duration * RATE), np.float32)
        time = np.arange(round(0.28 * RATE)) / RATE
        for k in range(len(words)):
            start = round((0.2 + 0.32 * k) * RATE)
            tone = 0.5 * np.sin(2 * np.pi * (180 + 20 * (k % 7)) * time) * np.hanning(len(time))
            sound[start : start + len(tone)] = tone[: len(sound) - start]
        return sound

    def finish(self, finished: bool = True) -> dict[str, Any]:
        """Write what stands at the root of OUT; returns the content of run.json."""
        store = self.artifacts.store
        self.corpus.append({"recording_id": "dup", "path": "copy.wav", "state": "rejected",
                            "reason": "duplicate", "duration_s": 4.0})  # fmt: skip
        self.corpus.append({"path": "notes.txt", "state": "ignored"})
        store.write("corpus.parquet", parquet_bytes(table(CORPUS, *self.corpus)))
        content = record(self.heard, self.config, self.partitions)
        if self.early_exit is not None:
            content["config"]["transcribe"] = {"early_exit": self.early_exit.model_dump()}
        if finished:
            (shard,) = missing_shards(store, "1", [Shard("shard-000000", tuple(self.parts))])
            write_shard(store, shard, {}, table(MANIFEST_SCHEMA, *self.manifest))
        else:
            content |= {"finished": False}
            del content["fingerprints"], content["partitions"], content["finished_at"]
        store.write("run.json", json.dumps(content).encode())
        return content


def write_out(folder: Path, utterances: int = 20, **options: Any) -> dict[str, Any]:
    """A finished OUT of three partitions and five recordings."""
    builder = Builder(folder, **options)
    builder.partition("part-a", [NASTY_PATH, "b.wav"], utterances)
    builder.partition("part-b", ["c.wav", "d.wav"], utterances)
    builder.partition("part-c", ["folder/e.wav"], utterances)
    return builder.finish()
