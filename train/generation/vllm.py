"""The same prompts and settings on vLLM, for throughput on GPUs.

vLLM schedules rows itself and holds the weights and the KV cache on the GPU. Its draws are its
own: with a temperature, answers differ from those of the transformers engine.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from gpa.runtime.errors import UserError
from gpa.tokenize.vocabulary import Ids
from gpa.train.generation.decoding import Legal, Stopped, Token, most_tokens
from gpa.train.generation.sampling import SamplingConfig, Seed

# vLLM takes this share of the GPU; the tokenizers need the rest.
GPU_MEMORY_SHARE = 0.8


class VLLMEngine:
    """A checkpoint on vLLM; one call at a time, since all rows share its steps."""

    def __init__(self, checkpoint: Path, context: int) -> None:
        try:
            from vllm import LLM
        except ImportError as error:
            raise UserError(
                f"eval.generation.engine is vllm, which can't be imported ({error}); install it "
                "with `pip install vllm` on a GPU machine, or set engine to transformers."
            ) from None
        self.context = context
        # Work is in ids, so that vLLM needs no tokenizer.
        self._engine = LLM(
            model=str(checkpoint),
            skip_tokenizer_init=True,
            dtype="bfloat16",
            max_model_len=context,
            gpu_memory_utilization=GPU_MEMORY_SHARE,
        ).llm_engine
        self._free = Lock()

    def decode(
        self, prompts: Sequence[Ids], legal: Legal, config: SamplingConfig, seeds: Sequence[Seed]
    ) -> Generator[Token, None, None]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        run_out: dict[str, tuple[int, Stopped]] = {}
        settings = [
            sampling_settings(prompt, self.context, legal, config, seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        with self._free:
            try:
                for row, (prompt, setting) in enumerate(zip(prompts, settings, strict=True)):
                    name = uuid.uuid4().hex
                    run_out[name] = row, most_tokens(prompt, self.context, config)[1]
                    self._engine.add_request(
                        name,
                        {"prompt_token_ids": prompt.tolist()},
                        SamplingParams(**setting, output_kind=RequestOutputKind.DELTA),
                    )
                while run_out:
                    for output in self._engine.step():
                        row, reason = run_out[output.request_id]
                        (new,) = output.outputs
                        if output.finished:
                            del run_out[output.request_id]
                        yield from tokens_of(row, new.token_ids, new.finish_reason, legal, reason)
            finally:
                if run_out:
                    self._engine.abort_request(list(run_out))


def sampling_settings(
    prompt: Ids, context: int, legal: Legal, config: SamplingConfig, seed: Seed
) -> dict[str, Any]:
    """The fields of vLLM's SamplingParams for one prompt.

    vLLM's repetition penalty counts the prompt too, and ours never does. They are the same where
    no legal token stands in the prompt, as in recognition and synthesis; raises UserError where
    one does, as in conversion.
    """
    allowed = [*range(legal.block.offset, legal.block.offset + legal.block.size), *legal.ends]
    if config.repetition_penalty != 1 and np.isin(prompt, allowed).any():
        raise UserError(
            "vLLM's repetition penalty would count the prompt's tokens, which the answer may hold "
            "as well; set repetition_penalty of this task to 1, or engine to transformers."
        )
    return {
        "temperature": config.temperature,
        "top_k": config.top_k,  # 0 is all of them since 0.9, as it is with us
        "top_p": config.top_p,
        "repetition_penalty": config.repetition_penalty,
        "max_tokens": most_tokens(prompt, context, config)[0],
        "seed": int(np.random.SeedSequence(seed).generate_state(1)[0]),
        "allowed_token_ids": allowed,
        "stop_token_ids": list(legal.ends),
        "detokenize": False,
    }


def tokens_of(
    row: int, new_ids: Sequence[int], finish_reason: str | None, legal: Legal, run_out: Stopped
) -> list[Token]:
    """What a step of vLLM brought for a row, in our terms.

    `finish_reason` is vLLM's: None while the row goes on, "stop" at an end token, "length", which
    `run_out` says more exactly. The end token itself may be among `new_ids` or not. Raises
    RuntimeError where vLLM gave the row up ("abort", "error").
    """
    if finish_reason not in (None, "stop", "length"):
        raise RuntimeError(f"vLLM gave up a request: {finish_reason}")
    codes = [token_id - legal.block.offset for token_id in new_ids if token_id not in legal.ends]
    tokens = [Token(row, code, None) for code in codes]
    if finish_reason == "stop":
        tokens.append(Token(row, None, "end"))
    elif finish_reason == "length" and codes:
        tokens[-1] = Token(row, codes[-1], run_out)
    return tokens
