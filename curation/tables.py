"""The tables that flow from stage to stage: one schema a stage, in the order of the recipe.

All times are seconds, in the recording unless a name says otherwise. Keys: `recording_id` is
unique among raw files; `utterance_id` is `<recording_id>-<start in milliseconds, 9 digits>`,
has no dot, and becomes the WebDataset key.
"""

from __future__ import annotations

import pyarrow as pa


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


# Reason of a reject of seconds that a file's header promises and the file does not hold; they
# count as seconds that went in.
DAMAGED = "damaged"

# A word of a hypothesis or an alignment, in seconds from the start of the utterance.
WORD = pa.struct(
    [
        _required("word", pa.string()),
        _required("start_s", pa.float64()),
        _required("end_s", pa.float64()),
        pa.field("confidence", pa.float64()),  # in [0, 1]; null where the model gives none
    ]
)

# ingest: one row a recording of the partition (files that were dropped are rejects).
RECORDINGS = pa.schema(
    [
        _required("recording_id", pa.string()),
        _required("path", pa.string()),  # as the corpus names it
        _required("uri", pa.string()),  # what fsspec or the file system opens
        _required("sha256", pa.string()),  # of the file
        _required("bytes", pa.int64()),
        _required("start_s", pa.float64()),  # in the file, of the segment that is the recording
        pa.field("end_s", pa.float64()),  # null: where the file ends
        _required("stream", pa.int32()),  # which of the file's audio streams, from 0
        pa.field("channel", pa.int32()),  # from 0; null: all of them, mixed down
        _required("duration_s", pa.float64()),  # of what can be decoded
        _required("sample_rate", pa.int32()),
        _required("channels", pa.int32()),
        _required("codec", pa.string()),
        pa.field("language", pa.string()),  # from a manifest, else null
        pa.field("text", pa.string()),  # the transcript that a manifest gives, else null
        _required("given", pa.string()),  # JSON: what else the manifest says
    ]
)
# The layers of a partition's name (`gpa.runtime.naming`), each with its columns of RECORDINGS: what
# is heard, how it is understood, what it is said to say, what else is said of it, and where it lies.
LAYERS = {
    "sound": ("recording_id", "sha256", "start_s", "end_s", "stream", "channel", "duration_s"),
    "language": ("language",),
    "text": ("text",),
    "told": ("path", "given"),
    "place": ("uri", "bytes", "sample_rate", "channels", "codec"),
}
# How many layers there are up to the one of that name.
SOUND, LANGUAGE, TEXT, TOLD = 1, 2, 3, 4


def known(recordings: pa.Table, layers: int) -> list[dict]:
    """RECORDINGS rows with the columns that a stage of so many layers may read.

    And with `uri`, which tells where the bytes are, and nothing of what they are.
    """
    names = [name for columns in list(LAYERS.values())[:layers] for name in columns]
    return recordings.select([*dict.fromkeys([*names, "uri"])]).to_pylist()


# normalize: one row a decoded recording; file `<recording_id>.flac`, mono, at `sample_rate`.
NORMALIZED = pa.schema(
    [
        _required("recording_id", pa.string()),
        _required("sample_rate", pa.int32()),
        _required("samples", pa.int64()),
        _required("duration_s", pa.float64()),  # really decoded: what the books count
        _required("peak_in", pa.float64()),  # max |x| after decoding, before any gain
        _required("dc_offset", pa.float64()),
        _required("clipped_share", pa.float64()),
        _required("repaired_samples", pa.int64()),  # NaN and infinite samples set to zero
        _required("max_gain_reduction_db", pa.float64()),  # of the compressor
    ]
)

# denoise: one row a recording; file `<recording_id>.flac`, same rate and length as normalized.
DENOISED = pa.schema(
    [
        _required("recording_id", pa.string()),
        _required("model", pa.string()),
        _required("residual_db", pa.float64()),  # RMS of what was removed, against the input's
    ]
)

# segment: one row a cut; files `<utterance_id>.normalized.flac` and, where there is a
# denoiser, `<utterance_id>.denoised.flac`, each with its peak at the configured level.
UTTERANCES = pa.schema(
    [
        _required("utterance_id", pa.string()),
        _required("recording_id", pa.string()),
        _required("start_s", pa.float64()),
        _required("end_s", pa.float64()),
        _required("duration_s", pa.float64()),
        _required("sample_rate", pa.int32()),
        _required("speaker", pa.string()),  # `<recording_id>-S<number>`
        _required("speaker_confidence", pa.float64()),  # in [0, 1]
        _required("speaker_embedding", pa.list_(pa.float32())),
        _required("speech_s", pa.float64()),  # speech by VAD inside the cut
        _required("snr_db", pa.float64()),
        _required("head_db", pa.float64()),  # loudest around the boundary, to speech level
        _required("tail_db", pa.float64()),
    ]
)

# quality: one row an utterance; which version is kept, and the evidence.
MOS = pa.struct(
    [
        _required("overall", pa.float64()),
        pa.field("signal", pa.float64()),
        pa.field("background", pa.float64()),
    ]
)
# Of the normalised version (`gpa.curation.quality`); levels in dB of full scale.
MEASURES = ("bandwidth_hz", "clipped_share", "level_dbfs", "noise_floor_dbfs")
QUALITY = pa.schema(
    [
        _required("utterance_id", pa.string()),
        _required("kept_version", pa.string()),  # "normalized" or "denoised"
        pa.field("normalized_mos", MOS),
        pa.field("denoised_mos", MOS),
        *(pa.field(name, pa.float64()) for name in MEASURES),
        pa.field("error", pa.string()),  # why there are no scores and no measures
    ]
)

# transcribe: one table an ASR, one row an utterance in a language that the ASR speaks.
HYPOTHESES = pa.schema(
    [
        _required("utterance_id", pa.string()),
        _required("asr", pa.string()),  # the name in pipelines.yaml
        _required("text", pa.string()),  # as the model wrote it; empty for silence
        _required("words", pa.list_(WORD)),  # empty where the model gives no times
        pa.field("confidence", pa.float64()),  # of the whole hypothesis, in [0, 1]
        pa.field("language", pa.string()),  # ISO 639-1
        pa.field("language_probability", pa.float64()),
        pa.field(
            "error", pa.string()
        ),  # why there is no hypothesis: what the model raised, if it did
        pa.field("pwer_at_least", pa.float64()),  # set where early exit skipped it: what was proven
    ]
)

# consensus: one row an utterance, kept or not.
STRUCK = pa.struct(
    [
        _required("asr", pa.string()),
        # "absent", "skipped", "outlier", "loop", "compression", "too_fast", "too_slow"
        _required("reason", pa.string()),
        pa.field("value", pa.float64()),
    ]
)
DISPUTE = pa.struct(
    [_required(name, pa.string()) for name in ("first", "second", "heard_first", "heard_second")]
)
CONSENSUS = pa.schema(
    [
        _required("utterance_id", pa.string()),
        _required("language", pa.string()),
        _required("voters", pa.list_(pa.string())),  # N of them, in the order of the matrix
        _required("struck", pa.list_(STRUCK)),  # of the panel, without a vote
        _required(
            "wer_matrix", pa.list_(pa.list_(pa.float64()))
        ),  # [i][j] = WER(y_i, y_j), uncapped
        pa.field("pwer", pa.float64()),  # over pairs capped at 1; null with fewer than two voters
        # Whether ASRs were skipped: then pwer is the least that it could have become, null without
        # cap and NaN with one left out (exact where the verifier alone was skipped).
        _required("early_exit", pa.bool_()),
        # What the other rule gives, where one leaves out a voter and the other does not.
        pa.field("pwer_other_rule", pa.float64()),
        pa.field("pwer_uncapped", pa.float64()),
        _required("pwer_without", pa.list_(pa.float64())),  # leave-one-out, by voter; NaN at N = 2
        pa.field("verifier", pa.string()),
        pa.field("verifier_distance", pa.float64()),  # in the verifier's own units, see docs
        # Mean WER, pairs capped at 1, between the voters and the text that a manifest gives; null
        # where it gives none, or the recording is more than this utterance.
        pa.field("given_pwer", pa.float64()),
        _required("kept", pa.bool_()),
        pa.field("reason", pa.string()),  # why not kept
        pa.field("chosen_asr", pa.string()),  # whose text, or whose skeleton under rover
        pa.field("text", pa.string()),  # in written form, before the pause rule
        pa.field("confidence", pa.float64()),  # of the utterance's label, in [0, 1]
        # Two voters, and what each heard, in agreement units, where both heard something else.
        _required("disputed", pa.list_(DISPUTE)),
    ]
)

# punctuate: one row an utterance that consensus kept.
EDIT = pa.struct(
    [
        _required("action", pa.string()),  # "insert", "remove"
        _required("mark", pa.string()),
        _required("word_index", pa.int32()),  # the mark stands, or stood, after this word
        _required("pause_ms", pa.float64()),
    ]
)
ALIGNMENT = pa.schema(
    [
        _required("utterance_id", pa.string()),
        _required("text_before", pa.string()),
        _required("text", pa.string()),
        _required(
            "aligner", pa.string()
        ),  # who timed the words: the aligner, else the ASR; or empty
        pa.field("error", pa.string()),  # why not aligned
        _required("words", pa.list_(WORD)),
        _required("edits", pa.list_(EDIT)),
    ]
)
