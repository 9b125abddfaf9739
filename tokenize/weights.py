"""Which tokenizers a job uses, and where their weights come from: a folder, the hub, or a seed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from gpa.curation.models.device import require_device
from gpa.curation.models.weights import sha256_of
from gpa.runtime.cache import user_cache
from gpa.runtime.config import Config, digest
from gpa.runtime.errors import UserError
from gpa.runtime.models import Facts, Weights
from gpa.tokenize import small
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.loading import find_parts
from gpa.tokenize.checkpoint import WEIGHT_FILES
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.glm.tokenizer import RELEASED, SMALL_GLM, find_folder
from gpa.tokenize.licences import licence_of

# The small tokenizers that are shipped, made from public-domain and CC BY speech; and networks of
# random weights, drawn from a seed, for trying the chain.
SMALL = "small"
SMALL_BICODEC = Path(__file__).parent / "bicodec" / "small"
RANDOM = "random"
# What we need of a repository on the hub: Spark-TTS, GPA and GLM-4-Voice hold more, or less.
BICODEC_FILES = ("BiCodec/*", "wav2vec2-large-xlsr-53/*")
GLM_FILES = (f"{RELEASED}/*", "config.json", "preprocessor_config.json", "model.safetensors")


class TokenizerConfig(Config):
    """The checkpoints of both tokenizers, and how much they work on at once.

    `bicodec` and `glm` are folders in a published layout or names on the hub. "small" is the
    one that is shipped; "random" makes a small random one from `seed`, for trying the chain.
    """

    bicodec: str = SMALL
    glm: str = SMALL
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    # Bounds memory: seconds of audio, padding included, in one batch of a tokenizer; and so also
    # the longest utterance, since BiCodec can't cut one. A core is fastest with this, a GPU with
    # several hundred.
    max_batch_s: float = Field(40.0, gt=0)
    # Seconds of audio decoded at a time, among which clips of similar length find each other.
    portion_s: float = Field(1200.0, gt=0)

    @property
    def trained(self) -> bool:
        """Whether the tokens stand for anything."""
        return RANDOM not in (self.bicodec, self.glm)


def load_tokenizers(config: TokenizerConfig) -> tuple[BiCodec, GLMTokenizer]:
    """Both tokenizers on the configured device; raises UserError with the remedy."""
    require_device(config.device, "tokenize.tokenizers")
    bicodec, glm = checkpoint_folders(config)
    return (
        BiCodec.load(bicodec, config.device, config.max_batch_s),
        GLMTokenizer.load(glm, config.device, config.max_batch_s),
    )


def load_bicodec(config: TokenizerConfig) -> BiCodec:
    """BiCodec alone; raises UserError with the remedy."""
    require_device(config.device, "tokenize.tokenizers")
    return BiCodec.load(checkpoint_folders(config)[0], config.device, config.max_batch_s)


def checkpoint_folders(config: TokenizerConfig) -> tuple[Path, Path]:
    """Local folders of BiCodec and of the GLM tokenizer; raises UserError with the remedy."""
    made = None if config.trained else small.small_tokenizers(user_cache(), config.seed)
    bicodec = made[0] if made and config.bicodec == RANDOM else find_bicodec(config.bicodec)
    glm = made[1] if made and config.glm == RANDOM else find_glm(config.glm)
    return bicodec, glm


def find_bicodec(name: str) -> Path:
    """Local folder of a trained BiCodec: the small one, a folder or a repository on the hub."""
    return SMALL_BICODEC if name == SMALL else _find(name, BICODEC_FILES)


def find_glm(name: str) -> Path:
    """Local folder of a trained GLM tokenizer, as `find_bicodec`."""
    return SMALL_GLM if name == SMALL else _find(name, GLM_FILES)


def weights_licence(name: str) -> str:
    """The licence of weights as a config names them, found or not; of both where both are shipped."""
    folders = (SMALL_BICODEC, SMALL_GLM) if name == SMALL else (Path(name).expanduser(),)
    return " and ".join(dict.fromkeys(licence_of(name, folder) for folder in folders))


def on_this_machine(name: str) -> bool:
    """Whether weights need no download: made here, shipped, a folder, or in the hub's cache."""
    if name in (SMALL, RANDOM) or Path(name).expanduser().is_dir():
        return True
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(name, local_files_only=True)
    except Exception:  # the hub's errors have no public base class
        return False
    return True


def _find(name: str, files: Sequence[str]) -> Path:
    """A folder, or the named files of a repository on the hub, from its cache where they are."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith(("/", ".", "~")) or name.count("/") != 1:
        raise UserError(
            f"There is no tokenizer checkpoint in {name}; mend its place under "
            "tokenize.tokenizers in pipelines.yaml."
        )
    from huggingface_hub import snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
    try:
        return Path(snapshot_download(name, allow_patterns=list(files), local_files_only=offline))
    except Exception as error:  # the hub's errors have no public base class
        raise UserError(
            f"The tokenizer {name} is neither a folder nor to be had from the hub "
            f"({type(error).__name__}); download it with `hf download {name}` or name its folder "
            "under tokenize.tokenizers in pipelines.yaml."
        ) from None


def tokenizer_facts(config: TokenizerConfig) -> dict[str, Facts]:
    """Both tokenizers and the digests of all the files they are read from; none is loaded.

    The same weights have one identity in every folder layout.
    """
    bicodec_folder, glm_folder = checkpoint_folders(config)
    glm = find_folder(glm_folder)
    return {
        "bicodec": _facts("BiCodec", config.bicodec, find_parts(bicodec_folder)),
        "glm": _facts("GLM-4-Voice tokenizer", config.glm, {"glm": glm}),
    }


def _facts(model: str, name: str, folders: Mapping[str, Path]) -> Facts:
    ours = {RANDOM: "made here", SMALL: "shipped"}
    origin = ours.get(name) or ("folder" if Path(name).is_dir() else "hub")
    folder = next(iter(folders.values()))
    licence = licence_of(name, folder)
    identity = digest({part: _hashes(where) for part, where in folders.items()})
    weights = Weights(name, origin, str(folder), identity, licence)
    shown = f"small random {model}" if name == RANDOM else model
    return Facts(shown, "gpa", licence, (weights,))


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the weights that are read, and of what is configured beside them."""
    weights = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()][:1]
    settings = [path for kind in ("*.json", "*.yaml") for path in sorted(folder.glob(kind))]
    return {path.name: sha256_of(path) for path in [*weights, *settings]}
