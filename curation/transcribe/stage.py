"""transcribe: what each ASR of the panel hears in each utterance (paper 3.1).

Every ASR is a stage of its own, `hypotheses/<name>`, whose fingerprint holds its own section
alone: adding a sixth ASR runs that one. One of them, the identifier, runs on every utterance; the
language it hears, or the one that a manifest gave, decides which other ASRs run on it. With
`early_exit` an ASR also reads what those before it heard, and is spared what they have settled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field, model_validator

from gpa.curation.audio import decode_flac
from gpa.curation.hypotheses import Heard, Skipped, read_hypotheses
from gpa.curation.models.asr.canary import Canary, CanaryConfig
from gpa.curation.models.asr.ctc_lexicon import CTCLexicon, CTCLexiconConfig
from gpa.curation.models.asr.omnilingual import Omnilingual, OmnilingualConfig
from gpa.curation.models.asr.paraformer import Paraformer, ParaformerConfig
from gpa.curation.models.asr.parakeet import Parakeet, ParakeetConfig
from gpa.curation.models.asr.qwen3_asr import Qwen3ASR, Qwen3ASRConfig
from gpa.curation.models.asr.seamless import Seamless, SeamlessConfig
from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.curation.models.protocols import ASR, Adapter, Hypothesis
from gpa.curation.tables import HYPOTHESES, LANGUAGE, known
from gpa.curation.transcribe.early_exit import EarlyExit, EarlyExitConfig
from gpa.runtime.config import Config
from gpa.runtime.errors import NOBODYS_FAULT, UserError
from gpa.runtime.stage import Artifact, Attempts, Stage, rows

ADAPTERS: dict[type[Config], type] = {
    WhisperConfig: Whisper,
    CTCLexiconConfig: CTCLexicon,
    OmnilingualConfig: Omnilingual,
    ParakeetConfig: Parakeet,
    CanaryConfig: Canary,
    SeamlessConfig: Seamless,
    ParaformerConfig: Paraformer,
    Qwen3ASRConfig: Qwen3ASR,
}
ASRSection = Annotated[
    WhisperConfig
    | CTCLexiconConfig
    | OmnilingualConfig
    | ParakeetConfig
    | CanaryConfig
    | SeamlessConfig
    | ParaformerConfig
    | Qwen3ASRConfig,
    Field(discriminator="model"),
]

# Utterances decoded at a time: bounds memory, and is the most that a GPU adapter can batch.
BATCH_UTTERANCES = 16

# How a row's `error` begins where the recording was not touched because it kills workers.
QUARANTINED = "quarantined"


class TranscribeConfig(Config):
    """The panel: `asr` maps names to recognisers, `identifier` is the one that names the language.

    They run in the order in which they stand here, the identifier first: with `early_exit` the
    cheap ones go before the dear ones, which then have less to hear.
    `hears` is the version of the audio that they get; full denoising makes ASR worse.
    """

    hears: Annotated[str, Field(pattern="^(normalized|denoised)$")] = "normalized"
    identifier: str
    early_exit: EarlyExitConfig | None = None
    asr: dict[Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]*$")], ASRSection]

    @model_validator(mode="after")
    def _identifier_is_in_the_panel(self) -> TranscribeConfig:
        if self.identifier not in self.asr:
            raise ValueError(f"identifier {self.identifier!r} is none of {', '.join(self.asr)}")
        return self

    @property
    def order(self) -> list[str]:
        """Names of the ASRs as they run: the identifier first, the others need its language."""
        return sorted(self.asr, key=lambda name: name != self.identifier)


class OneASRConfig(Config):
    """What the hypotheses of one ASR depend on."""

    hears: str
    asr: ASRSection
    early_exit: EarlyExit | None = None


def build_asr(section: Config) -> ASR:
    """The adapter that a section of the config describes; nothing is loaded yet."""
    return ADAPTERS[type(section)](section)


def transcribe_stages(
    config: TranscribeConfig, early_exits: Mapping[str, EarlyExit] | None = None
) -> list[Transcribe]:
    """One stage an ASR, in the order in which they run; `early_exits` are the rules by name."""
    stages = []
    for name in config.order:
        rule = (early_exits or {}).get(name)
        read = [config.identifier] if name != config.identifier else []
        if rule is not None:
            read += [voter for voters in rule.earlier.values() for voter in voters]
        stages.append(
            Transcribe(
                f"hypotheses/{name}",
                OneASRConfig(hears=config.hears, asr=config.asr[name], early_exit=rule),
                ["recordings", "utterances", *(f"hypotheses/{e}" for e in dict.fromkeys(read))],
            )
        )
    return stages


class Transcribe(Stage):
    """One ASR over a partition's utterances.

    With no other `hypotheses/...` among its inputs it is the identifier and hears everything,
    else the first of them is the identifier's.
    An utterance on which the model fails, one that early exit settled, and one of a quarantined
    recording gets a row with `error`; nothing is rejected here, so that consensus decides once over the whole panel.
    """

    step = "transcribe"
    version = 4
    layers = LANGUAGE
    config: OneASRConfig

    def __init__(self, name: str, config: OneASRConfig, inputs: Sequence[str]):
        super().__init__(name, config, inputs)
        self.asr_name = name.removeprefix("hypotheses/")
        self.identifier = next((name for name in inputs if name.startswith("hypotheses/")), None)
        self.asr = build_asr(config.asr)

    def adapters(self) -> Mapping[str, Adapter]:
        """The recogniser."""
        return {self.asr_name: self.asr}

    def needs_models(self, inputs: Mapping[str, Artifact]) -> bool:
        """Not where nothing is said in a language that this ASR hears."""
        return bool(self._languages(inputs))

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """One row an utterance that this ASR hears, in the order of the utterances."""
        utterances = inputs["utterances"]
        heard = self._languages(inputs)
        tasks = [row for row in rows(utterances.table) if row["utterance_id"] in heard]
        results: dict[str, Heard] = dict(self._settled(tasks, inputs, heard))
        safe = [
            row
            for row in tasks
            if row["recording_id"] not in attempts.quarantined
            and row["utterance_id"] not in results
        ]
        for batch in batches(safe, one_recording_each=attempts.careful):
            with attempts.on(sorted({row["recording_id"] for row in batch})):
                hypotheses = self._hear(batch, utterances, heard)
            results |= zip([row["utterance_id"] for row in batch], hypotheses, strict=True)
        table = [
            self._row(row, results.get(row["utterance_id"]), heard[row["utterance_id"]])
            for row in tasks
        ]
        return Artifact(
            pa.Table.from_pylist(table, HYPOTHESES),
            audio_s=sum(row["duration_s"] for row in safe),
        )

    def _languages(self, inputs: Mapping[str, Artifact]) -> dict[str, str | None]:
        """Language by id of the utterances that this ASR hears; None: it is to identify it."""
        given = {
            row["recording_id"]: row["language"]
            for row in known(inputs["recordings"].table, self.layers)
        }
        columns = ["utterance_id", "recording_id"]
        languages = {
            row["utterance_id"]: given[row["recording_id"]]
            for row in rows(inputs["utterances"].table.select(columns))
        }
        if self.identifier is None:
            return languages
        for row in rows(inputs[self.identifier].table):
            languages[row["utterance_id"]] = languages[row["utterance_id"]] or row["language"]
        spoken = spoken_languages(self.config.asr.languages, self.asr.facts().languages)
        return {
            utterance_id: language
            for utterance_id, language in languages.items()
            if language is not None and (spoken is None or language in spoken)
        }

    def _settled(
        self,
        tasks: Sequence[dict],
        inputs: Mapping[str, Artifact],
        heard: Mapping[str, str | None],
    ) -> Iterator[tuple[str, Skipped]]:
        """The utterances that early exit spares this ASR, by id."""
        rule = self.config.early_exit
        if rule is None:
            return
        earlier = {
            name.removeprefix("hypotheses/"): read_hypotheses(inputs[name].table)
            for name in self.inputs
            if name.startswith("hypotheses/")
        }
        for row in tasks:
            key, language = row["utterance_id"], heard[row["utterance_id"]]
            said = {asr: by_key[key] for asr, by_key in earlier.items() if key in by_key}
            if language and (skipped := rule.proof(said, language, row["duration_s"])):
                yield key, skipped

    def _hear(
        self, batch: Sequence[dict], utterances: Artifact, heard: Mapping[str, str | None]
    ) -> list[Hypothesis | Exception]:
        """Hypotheses of one batch."""
        clips = [self._audio(utterances, row["utterance_id"]) for row in batch]
        waveforms = [decode_flac(clip)[0] for clip in clips]
        languages = [heard[row["utterance_id"]] for row in batch]
        hypotheses = self.asr.transcribe(waveforms, batch[0]["sample_rate"], languages)
        for hypothesis in hypotheses:
            if isinstance(hypothesis, NOBODYS_FAULT):
                raise hypothesis
        return hypotheses

    def _audio(self, utterances: Artifact, utterance_id: str) -> bytes:
        name = f"{utterance_id}.{self.config.hears}.flac"
        if name not in utterances.files:
            raise UserError(
                f"transcribe.hears is {self.config.hears!r}, but utterance {utterance_id} has no"
                " such audio; set it to 'normalized', or give the pipeline a denoiser."
            )
        return utterances.files[name]

    def _row(self, utterance: dict, result: Heard | None, language: str | None) -> dict[str, Any]:
        """A row of HYPOTHESES; no result is a quarantined recording."""
        hypothesis = result if isinstance(result, Hypothesis) else Hypothesis("")
        error = None
        if result is None:
            error = f"{QUARANTINED}: {utterance['recording_id']} killed two workers of this ASR"
        elif isinstance(result, Skipped):
            error = f"skipped: whatever it hears, pWER is at least {result.pwer_at_least:.3f}"
        elif isinstance(result, Exception):
            error = " ".join(f"{type(result).__name__}: {result}".split())
        return {
            "utterance_id": utterance["utterance_id"],
            "asr": self.asr_name,
            "text": hypothesis.text,
            "words": [vars(word) for word in hypothesis.words],
            "confidence": hypothesis.confidence,
            "language": hypothesis.language or language,
            "language_probability": hypothesis.language_probability,
            "error": error,
            "pwer_at_least": result.pwer_at_least if isinstance(result, Skipped) else None,
        }


def spoken_languages(
    configured: Sequence[str] | None, of_the_model: frozenset[str] | None
) -> frozenset[str] | None:
    """Languages that both the config and the model allow; None: any."""
    if configured is None:
        return of_the_model
    return frozenset(configured) if of_the_model is None else of_the_model & set(configured)


def batches(utterances: Sequence[dict], one_recording_each: bool) -> Iterator[list[dict]]:
    """Utterances of about the same length together, longest first, so that padding is little.

    A batch has one sample rate, and with `one_recording_each` one recording.
    """
    groups: dict[Any, list[dict]] = {}
    for row in utterances:
        recording = row["recording_id"] if one_recording_each else None
        groups.setdefault((recording, row["sample_rate"]), []).append(row)
    for group in groups.values():
        by_length = sorted(group, key=lambda row: -row["duration_s"])
        for start in range(0, len(by_length), BATCH_UTTERANCES):
            yield by_length[start : start + BATCH_UTTERANCES]
