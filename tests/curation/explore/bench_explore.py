"""How fast the explorer is over a million utterances: `python -m tests.curation.explore.bench_explore`."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from typing import Any

from gpa.curation.explore.app import AT_FIRST
from gpa.curation.explore.catalogue import Catalogue
from gpa.curation.explore.vocabulary import vocabulary
from gpa.curation.report.outputs import open_run
from tests.curation.report.bench_report import main


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Do something and print how long it took."""
    began = time.perf_counter()
    made = work()
    print(f"{what:<40} {time.perf_counter() - began:6.2f} s", flush=True)
    return made


def page(catalogue: Catalogue, where: str, sort: str = "") -> None:
    """What the browser asks for a page."""
    catalogue.rows(where, sort)
    catalogue.count(where)


def measure(out: str) -> None:
    """Start, pages, and disputed words."""
    catalogue = timed("start, to the first page", lambda: Catalogue(open_run(out), AT_FIRST))
    timed("all read", lambda: catalogue.follow(threading.Event()))
    print(f"{catalogue.count('').utterances:,} utterances")
    timed("first page", lambda: page(catalogue, ""))
    for where in ("not kept and pwer < 0.3", "regexp_matches(text, 'river.*water')", "snr_db > 20"):
        timed(where, lambda where=where: page(catalogue, where))
    for sort in ("pwer", "text"):
        timed(f"sorted by {sort}", lambda sort=sort: page(catalogue, "", sort))
    one = catalogue.rows("", "pwer", True, 1000, 1)[0]["utterance_id"]
    timed(
        "one utterance and its neighbours", lambda: (catalogue.find(one), catalogue.neighbours(one))
    )
    timed("disputed words", lambda: catalogue.disputes(""))
    timed("vocabulary", lambda: vocabulary(catalogue, ""))
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main("tests.curation.explore.bench_explore", measure)
