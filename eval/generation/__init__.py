"""The model at work for people: text and audio in, text or speech out."""
