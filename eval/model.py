"""Which model is to answer people: the options that all commands share that ask one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpa.runtime.options import ConfigFile, TokenizerName, tell

if TYPE_CHECKING:
    from gpa.eval.generation.generate import Generator


@dataclass(frozen=True)
class Model:
    """A model that is not loaded yet; the fields are options of a command."""

    checkpoint: Annotated[
        Path, typer.Option(help="A checkpoint, or the folder of a run for its last one.")
    ] = Path("checkpoints/tiny-pretrain")
    tokenizer: TokenizerName = "small"
    config: ConfigFile = field(kw_only=True)

    def load(self) -> Generator:
        """Load it on the device of its tokenizers; raises UserError."""
        from gpa.eval.config import read_config
        from gpa.eval.generation.generate import Generator
        from gpa.tokenize import run as tokenizing
        from gpa.tokenize.small import NOTICE
        from gpa.train.command import use_all_cores

        use_all_cores()
        tokenizers = tokenizing.choose(tokenizing.read_config(self.config), self.tokenizer)
        settings = read_config(self.config).generation
        if not tokenizers.trained:
            tell(f"WARNING: {NOTICE}, and what is heard or said with them means nothing")
        return Generator.load(self.checkpoint, tokenizers, settings)
