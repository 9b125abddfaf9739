"""BiCodec (Spark-TTS): speech as semantic and global tokens, and back."""

from gpa.tokenize.bicodec.model import BiCodec, BiCodecTokens
from gpa.tokenize.bicodec.streaming import StreamingDecoder

__all__ = ["BiCodec", "BiCodecTokens", "StreamingDecoder"]
