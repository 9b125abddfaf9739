"""BiCodec (Spark-TTS): speech as semantic and global tokens, and back."""
