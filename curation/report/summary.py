"""`report/summary.json` and the few lines that a run ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from gpa.curation.consensus.stage import SKIPPED
from gpa.curation.report.books import NON_SPEECH, QUARANTINED, Books
from gpa.curation.report.funnel import STEPS
from gpa.curation.report.recognisers import Agreement
from gpa.runtime.progress import duration

NAME = "report/summary.json"


def pairwise_wer(agreement: Agreement) -> dict[str, dict[str, float]]:
    """Mean WER between each two ASRs over the utterances on which both voted.

    Keys are `<asr>|<asr>` in alphabetical order; WER is the mean of both directions, each
    capped at 1.
    """
    wer, count = agreement.pair_wer + agreement.pair_wer.T, agreement.pair_count
    return {
        f"{first}|{second}": {
            "wer": round(wer[i, j] / (2 * count[i, j]), 4),
            "utterances": int(count[i, j]),
        }
        for i, first in enumerate(agreement.asrs)
        for j, second in enumerate(agreement.asrs)
        if i < j and count[i, j]
    }


def spared(agreement: Agreement) -> dict[str, dict[str, float]]:
    """Utterances, and their seconds, that early exit spared each ASR."""
    return {
        asr: {"utterances": count, "seconds": round(agreement.struck_s[asr, reason], 3)}
        for (asr, reason), count in sorted(agreement.struck.items())
        if reason == SKIPPED
    }


def summarise(books: Books, agreement: Agreement, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a finished run amounts to, for `report/summary.json`; seconds rounded to milliseconds."""
    pairs = pairwise_wer(agreement)
    dropped = {
        reason: round(seconds, 3)
        for reason, seconds in sorted(books.dropped_s.items())
        if reason not in (NON_SPEECH, QUARANTINED)
    }
    return {
        "pipeline": record["pipeline"],
        "seconds": {
            "in": round(books.in_s, 3),
            "kept": round(books.kept_s, 3),
            "dropped": dropped,
            "non_speech": round(books.non_speech_s, 3),
            "quarantined": round(books.quarantined_s, 3),
            "unaccounted": round(books.balance_s, 3) + 0.0,
        },
        "utterances": {
            "kept": books.kept_utterances,
            "dropped": dict(sorted(books.dropped_utterances.items())),
        },
        "recordings": dict(sorted(books.recordings.items())),
        "balanced": not books.differences,
        "pairwise_wer": {pair: entry["wer"] for pair, entry in pairs.items()},
        "pairwise_utterances": {pair: entry["utterances"] for pair, entry in pairs.items()},
        "early_exit": spared(agreement),
        "given_texts": agreement.given_texts(),
        "stages": record["stages"],
        "models": record["models"],
        "versions": record["versions"],
    }


def show(summary: Mapping[str, Any], books: Books, out: str, console: Console) -> None:
    """Print the funnel, the agreement, and where things are."""
    in_s = summary["seconds"]["in"] or 1.0
    funnel = Table(title="Where every second went", title_justify="left", box=None)
    for column, justify in (("", "left"), ("", "left"), ("audio", "right"), ("share", "right")):
        funnel.add_column(column, justify=justify)  # type: ignore[arg-type]
    funnel.add_row("in", "", duration(in_s), "")
    lost = sorted(books.dropped_by_step_s.items(), key=lambda of: (STEPS.index(of[0][0]), -of[1]))
    for (step, reason), seconds in lost:
        funnel.add_row(f"  {step}", reason, duration(seconds), f"{seconds / in_s:.1%}")
    funnel.add_row("kept", "", duration(books.kept_s), f"{books.kept_s / in_s:.1%}", style="bold")
    console.print(funnel)
    if summary["pairwise_wer"]:
        pairs = ", ".join(
            f"{pair.replace('|', ' and ')} {wer:.1%}"
            for pair, wer in summary["pairwise_wer"].items()
        )
        console.print(f"WER between the ASRs: {pairs}")
    if summary["early_exit"]:
        skips = ", ".join(
            f"{asr} {entry['utterances']} utterances ({duration(entry['seconds'])})"
            for asr, entry in summary["early_exit"].items()
        )
        console.print(f"Early exit spared {skips}: no decision depends on them.")
    if (given := summary["given_texts"])["utterances"]:
        console.print(
            f"Given texts: {given['utterances']} of one utterance, at a mean pWER of "
            f"{given['mean_pwer']:.1%} against the panel; {given['of_other_audio']} of them look "
            "like transcripts of other audio."
        )
    states = ", ".join(f"{count} {state}" for state, count in summary["recordings"].items())
    console.print(f"Files: {states}. Utterances kept: {books.kept_utterances}.")
    if summary["balanced"]:
        console.print("The books balance: every file, utterance and second is accounted for.")
    if failed_s := books.dropped_s["failed"]:
        console.print(
            f"[red]A model raised an exception on {failed_s / in_s:.1%} of the audio (reason "
            f"`failed` in rejected.parquet says which); if that is much, it is no fault of the "
            f"recordings.[/red]"
        )
    for difference in books.differences[:10]:
        console.print(f"The books do not balance: {difference}", style="red", markup=False)
    for what, where in (
        ("Shards", f"{out}/curated"),
        ("Dropped, and why", f"{out}/rejected.parquet"),
        ("Report", f"{out}/report/index.html"),
    ):
        console.print(f"{what + ':':<18} {where}", markup=False)
