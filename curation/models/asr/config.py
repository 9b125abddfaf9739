"""What the config sections of all speech recognisers share."""

from __future__ import annotations

from pydantic import Field

from gpa.curation.models.device import DeviceConfig
from gpa.curation.text.languages import LanguageCode
from gpa.runtime.models import ModelConfig


class ASRConfig(ModelConfig):
    """A recogniser's section.

    `languages` limits it to these, named by any code that BCP 47 has; null stands for all that its model speaks.
    """

    languages: tuple[LanguageCode, ...] | None = None


class BatchedASRConfig(ASRConfig, DeviceConfig):
    """One that hears several utterances at once: more than 1 pays on a GPU alone."""

    batch_size: int = Field(default=1, gt=0)
