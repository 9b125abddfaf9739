"""Raw recordings to curated utterances, in nine steps; each is a file or a folder here.

1. ingest      what recordings there are, which are the same, and how they are shared out
2. normalize   one rate, no DC, compressed, one peak
3. denoise     a noise suppressor over whole recordings
4. segment     utterances of one speaker; cross-talk, non-speech and cut words dropped
5. quality     which version of an utterance is kept, normalised or denoised
6. transcribe  what each recogniser of the panel hears
7. consensus   pWER, and of several hypotheses one text or a reason for none
8. punctuate   commas from measured pauses
9. package     WebDataset shards and their manifest
"""
