"""The three tasks as sequences of ids: recognition, synthesis and conversion are compositions.

| task | prompt | answer |
|---|---|---|
| asr | start_glm GLM end_glm start_semantic SEM end_semantic start_content | text end_content im_end |
| tts | start_global G32(reference) end_global start_content text end_content | SEM im_end |
| tts_continued | start_global G32(reference) end_global start_content text(reference) text end_content start_semantic SEM(reference) | SEM im_end |
| vc | start_global G32(reference) end_global start_semantic SEM(source) end_semantic end_content | SEM(target) im_end |

`tts_continued` is synthesis, too: with the words of the reference before those to say, the model goes
on from how the reference says them. Both texts are encoded each by itself.

At inference the model is handed exactly the prompt; a training sequence is the same prompt and its
answer. (The closing end_content of a conversion prompt has no opening: so it was published.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpa.tokenize.vocabulary import GLM, GLOBAL, SEMANTIC, Ids, StructureTokens

Task = Literal["asr", "tts", "vc"]
TASKS: tuple[Task, ...] = get_args(Task)
# What a task is taught by; each task is one, and synthesis is two.
Composition = Literal[Task, "tts_continued"]
COMPOSITIONS: tuple[Composition, ...] = get_args(Composition)

GLOBAL_TOKENS = 32
# Where labels say "not supervised", as PyTorch's cross entropy has it.
IGNORED = -100


@dataclass(frozen=True)
class TaskSequence:
    """A prompt and its answer: `ids` has shape (n,), the answer starts at `answer_start`."""

    ids: Ids
    answer_start: int

    @property
    def prompt(self) -> Ids:
        """What the model is handed at inference."""
        return self.ids[: self.answer_start]

    @property
    def labels(self) -> Ids:
        """Labels that supervise the answer alone, shape (n,)."""
        labels = self.ids.copy()
        labels[: self.answer_start] = IGNORED
        return labels


def asr_prompt(tokens: StructureTokens, glm: ArrayLike, semantic: ArrayLike) -> Ids:
    """Recognition: from GLM codes (12.5 a second) and semantic codes (50 a second) to text."""
    return _join(
        *(tokens.start_glm_token, GLM.ids(glm), tokens.end_glm_token),
        *(tokens.start_semantic_token, SEMANTIC.ids(semantic), tokens.end_semantic_token),
        tokens.start_content,
    )


def asr(
    tokens: StructureTokens, glm: ArrayLike, semantic: ArrayLike, text_ids: ArrayLike
) -> TaskSequence:
    """Recognition, with its transcript."""
    return _task(asr_prompt(tokens, glm, semantic), text_ids, tokens.end_content, tokens.im_end)


def tts_prompt(tokens: StructureTokens, reference_global: ArrayLike, text_ids: ArrayLike) -> Ids:
    """Synthesis: from the reference's 32 global codes and a text to speech in its voice."""
    return _join(
        *(tokens.start_global_token, _globals(reference_global), tokens.end_global_token),
        *(tokens.start_content, text_ids, tokens.end_content),
    )


def tts(
    tokens: StructureTokens, reference_global: ArrayLike, text_ids: ArrayLike, semantic: ArrayLike
) -> TaskSequence:
    """Synthesis, with the semantic codes of the speech."""
    return _task(
        tts_prompt(tokens, reference_global, text_ids), SEMANTIC.ids(semantic), tokens.im_end
    )


def tts_continued_prompt(
    tokens: StructureTokens,
    reference_global: ArrayLike,
    reference_text_ids: ArrayLike,
    reference_semantic: ArrayLike,
    text_ids: ArrayLike,
) -> Ids:
    """Synthesis that goes on from the reference: from its codes and its text besides."""
    both = _join(reference_text_ids, text_ids)
    return _join(
        tts_prompt(tokens, reference_global, both),
        *(tokens.start_semantic_token, SEMANTIC.ids(reference_semantic)),
    )


def tts_continued(
    tokens: StructureTokens,
    reference_global: ArrayLike,
    reference_text_ids: ArrayLike,
    reference_semantic: ArrayLike,
    text_ids: ArrayLike,
    semantic: ArrayLike,
) -> TaskSequence:
    """Synthesis that goes on from the reference, with the semantic codes of the speech.

    The reference must be another utterance than the target, which it would hold else.
    """
    prompt = tts_continued_prompt(
        tokens, reference_global, reference_text_ids, reference_semantic, text_ids
    )
    return _task(prompt, SEMANTIC.ids(semantic), tokens.im_end)


def vc_prompt(
    tokens: StructureTokens, reference_global: ArrayLike, source_semantic: ArrayLike
) -> Ids:
    """Conversion: from the reference's 32 global codes and speech to that speech in its voice."""
    return _join(
        *(tokens.start_global_token, _globals(reference_global), tokens.end_global_token),
        *(tokens.start_semantic_token, SEMANTIC.ids(source_semantic), tokens.end_semantic_token),
        tokens.end_content,
    )


def vc(
    tokens: StructureTokens,
    reference_global: ArrayLike,
    source_semantic: ArrayLike,
    target_semantic: ArrayLike,
) -> TaskSequence:
    """Conversion, with the semantic codes of the target.

    Without a parallel target, source and target are one utterance (self-reconstruction).
    """
    return _task(
        vc_prompt(tokens, reference_global, source_semantic),
        *(SEMANTIC.ids(target_semantic), tokens.im_end),
    )


def sequence_lengths(
    composition: Composition,
    text_tokens: ArrayLike,
    glm_tokens: ArrayLike,
    semantic_tokens: ArrayLike,
) -> NDArray[np.int64]:
    """Lengths of the sequences that are composed of utterances with these counts of tokens.

    Counts are of all utterances in a sequence together: of conversion's source and target, and
    of a target and the reference that it goes on from.
    """
    text, glm, semantic = (
        np.asarray(counts, np.int64) for counts in (text_tokens, glm_tokens, semantic_tokens)
    )
    match composition:
        case "asr":
            return glm + semantic + text + 7
        case "tts":
            return GLOBAL_TOKENS + text + semantic + 5
        case "tts_continued":
            return GLOBAL_TOKENS + text + semantic + 6
        case "vc":
            return GLOBAL_TOKENS + semantic + 6


def choose_references(
    speakers: ArrayLike, seed: int | Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each utterance another one of the same speaker, whose voice it is to be spoken in.

    `speakers` has one name or number an utterance. Returns (references, fell_back), both of shape (utterances,): the index of the reference, and
    where it had to be the utterance itself because its speaker has no other. A reference that is
    always the target itself would let the model read prosody and content out of the timbre.
    """
    _, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    order = np.argsort(speaker, kind="stable")
    counts = np.bincount(speaker)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - first[speaker[order]]
    of_speaker = counts[speaker]
    step = 1 + (np.random.default_rng(seed).random(len(order)) * (of_speaker - 1)).astype(np.int64)
    references = order[first[speaker] + (rank + step) % of_speaker]
    return references, of_speaker == 1


def _globals(codes: ArrayLike) -> Ids:
    ids = GLOBAL.ids(codes)
    if ids.shape != (GLOBAL_TOKENS,):
        raise ValueError(f"a reference has {GLOBAL_TOKENS} global codes, not {ids.shape}")
    return ids


def _task(prompt: Ids, *answer: ArrayLike) -> TaskSequence:
    return TaskSequence(_join(prompt, *answer), len(prompt))


def _join(*parts: ArrayLike) -> Ids:
    return np.concatenate([np.atleast_1d(np.asarray(part, np.int32)) for part in parts])
