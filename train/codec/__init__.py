"""Training BiCodec: from a checkpoint or from fresh weights, on curated speech."""
