"""The tokenize stage: one curated shard in, its tokens out.

The shard's audio is decoded once, and both tokenizers see it in batches of similar length. What
can't be tokenized is a reject with its reason: no clip stops a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gpa.curation.curated import CuratedUtterance, read_shard
from gpa.curation.spans import filled
from gpa.runtime.models import Facts
from gpa.runtime.stage import Artifact, Attempts, Reject, Stage
from gpa.tokenize.bicodec import BiCodecTokens
from gpa.tokenize.clips import ClipError
from gpa.tokenize.report import check_books
from gpa.tokenize.shards import (
    TOTALS_SCHEMA,
    Utterance,
    UtteranceTokens,
    shard_totals,
    token_rows,
)
from gpa.tokenize.vocabulary import Vocabulary
from gpa.tokenize.weights import TokenizerConfig, load_tokenizers, tokenizer_facts


class TokenizeStage(Stage):
    """curated -> tokens: one row of TOTALS_SCHEMA, and the shard itself (TOKENS_SCHEMA), mapped."""

    step = "tokenize"
    version = 2
    config: TokenizerConfig

    def models(self) -> Mapping[str, Facts]:
        return tokenizer_facts(self.config)

    def model_identity(self) -> str:
        """The tokenizers, and the vocabulary that text is written in."""
        return f"{super().model_identity()}; {Vocabulary.build().text_digest}"

    def load(self) -> None:
        self._bicodec, self._glm = load_tokenizers(self.config)
        self._vocabulary = Vocabulary.build()

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """Tokenize one curated shard; raises UserError where the shard itself is damaged."""
        given: list[str] = []
        done: list[Utterance] = []
        rejects: list[Reject] = []
        audio_s = 0.0
        utterances = read_shard(inputs["curated"].table)
        for portion in filled(utterances, attrgetter("duration_s"), self.config.portion_s):
            given += (utterance.metadata["utterance_id"] for utterance in portion)
            audio_s += sum(utterance.duration_s for utterance in portion)
            safe = []
            for utterance in portion:
                if utterance.recording_id in attempts.quarantined:
                    rejects.append(_reject(utterance, "quarantined"))
                else:
                    safe.append(utterance)
            for group in [[one] for one in safe] if attempts.careful else [safe]:
                with attempts.on(sorted({utterance.recording_id for utterance in group})):
                    tokenized, refused = self._tokenize(group)
                rejects += refused
                done += tokenized
        check_books(
            given,
            [utterance.utterance_id for utterance in done],
            [str(reject.utterance_id) for reject in rejects],
        )
        rows = token_rows(done)
        totals = pa.Table.from_pylist([shard_totals(rows)], TOTALS_SCHEMA)
        return Artifact(totals, rejects=rejects, audio_s=audio_s, mapped=rows)

    def _tokenize(
        self, utterances: Sequence[CuratedUtterance]
    ) -> tuple[list[Utterance], list[Reject]]:
        """Tokens of all utterances that have any, in order, and rejects for the others."""
        usable, refused = [], []
        bicodec_clips, glm_clips = [], []
        for clip, utterance in enumerate(utterances):
            try:
                waveform, sample_rate = utterance.decode()
                for_bicodec = self._bicodec.prepare(clip, waveform, sample_rate)
                for_glm = self._glm.prepare(clip, waveform, sample_rate)
            except ClipError as error:
                refused.append(_reject(utterance, "no_tokens", error.reason))
            except ValueError as error:
                refused.append(_reject(utterance, "unreadable", str(error)))
            else:
                usable.append(utterance)
                bicodec_clips.append(for_bicodec)
                glm_clips.append(for_glm)
        tokenized = [
            self._with_tokens(utterance, bicodec, glm)
            for utterance, bicodec, glm in zip(
                usable,
                self._bicodec.encode_prepared(bicodec_clips),
                self._glm.encode_prepared(glm_clips),
                strict=True,
            )
        ]
        return tokenized, refused

    def _with_tokens(
        self, utterance: CuratedUtterance, bicodec: BiCodecTokens, glm: NDArray[np.int64]
    ) -> Utterance:
        metadata = utterance.metadata
        folders = PurePosixPath(metadata["source"]).parts[:-1]
        return Utterance(
            utterance_id=metadata["utterance_id"],
            speaker=metadata["speaker"],
            language=metadata["language"],
            # Mixtures are weighed by the corpus's top folders.
            source=folders[0] if folders else ".",
            text=metadata["text"],
            duration_s=metadata["duration_s"],
            tokens=UtteranceTokens(
                text_tokens=self._vocabulary.encode_text(metadata["text"]),
                glm_tokens=glm.astype(np.uint16),
                semantic_tokens=bicodec.semantic_tokens.astype(np.uint16),
                global_tokens=bicodec.global_tokens.astype(np.uint16),
            ),
        )


def _reject(utterance: CuratedUtterance, reason: str, detail: str | None = None) -> Reject:
    metadata = utterance.metadata
    return Reject(
        metadata["recording_id"],
        reason,
        metadata["duration_s"],
        utterance_id=metadata["utterance_id"],
        start_s=metadata["start_s"],
        end_s=metadata["end_s"],
        detail=detail,
    )
