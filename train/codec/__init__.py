"""Codecs of curated speech: BiCodec trained, from a checkpoint or from nothing; a small GLM tokenizer."""
