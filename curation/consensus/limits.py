"""Limits of an utterance's audio, by what `gpa.curation.quality` measured: all off by default."""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from gpa.curation.tables import MEASURES
from gpa.runtime.config import Config
from gpa.runtime.stage import rows


class QualityLimits(Config):
    """What is not kept, however well its text is agreed on; None: no limit.

    An utterance that could not be measured breaks none.
    """

    min_bandwidth_hz: float | None = Field(None, gt=0)
    max_clipped_share: float | None = Field(None, ge=0, le=1)
    min_level_dbfs: float | None = Field(None, le=0)
    max_noise_floor_dbfs: float | None = Field(None, le=0)

    @property
    def active(self) -> bool:
        """Whether there is one."""
        return any(limit is not None for limit in self.model_dump().values())

    def broken(self, quality: pa.Table) -> dict[str, tuple[str, float]]:
        """`utterance_id` -> the first limit that it breaks, as reason and value; QUALITY rows."""
        found = {}
        for row in rows(quality.select(["utterance_id", *MEASURES])):
            for reason, name, least, most in (
                ("narrow_band", "bandwidth_hz", self.min_bandwidth_hz, None),
                ("clipped", "clipped_share", None, self.max_clipped_share),
                ("too_quiet", "level_dbfs", self.min_level_dbfs, None),
                ("noisy", "noise_floor_dbfs", None, self.max_noise_floor_dbfs),
            ):
                value = row[name]
                if value is None:
                    continue
                if (least is not None and value < least) or (most is not None and value > most):
                    found[row["utterance_id"]] = reason, value
                    break
        return found
