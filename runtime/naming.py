"""Names: an artifact's holds everything that its bytes depend on, and nothing else.

An artifact is `<stage>/<fingerprint>/<partition>`. The fingerprint stands for code, config, models
down to their bytes, and all of these of the stages above. The partition's name stands for what is
known of the recordings in it: `part-` and a digest of each *layer* of that, first the one on which
most depends. An artifact's name holds as many layers as its stage, or any above it, reads, and its
fingerprint ends with how many: so a file that was renamed is not decoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpa.runtime.config import digest

# Digits of the layers after the first: these tell versions of one partition apart, not partitions.
DIGITS = 8


def partition_name(layers: Sequence[Any]) -> str:
    """The name of a partition, given its layers as JSON-serialisable values, the first one first."""
    first, *others = map(digest, layers)
    return "-".join(["part", first, *(other[:DIGITS] for other in others)])


def with_layers(fingerprint: str, layers: int) -> str:
    """The fingerprint of artifacts whose names hold so many layers; 0 stands for the whole name."""
    return f"{fingerprint}.{layers}" if layers else fingerprint


def layers_of(fingerprint: str) -> int:
    """How many layers of a partition's name its artifacts' names hold; 0 stands for all."""
    return int(fingerprint.partition(".")[2] or 0)


def name_under(fingerprint: str, partition: str) -> str:
    """What a partition's artifact is called under a fingerprint."""
    if layers := layers_of(fingerprint):
        return "-".join(partition.split("-")[: 1 + layers])
    return partition
