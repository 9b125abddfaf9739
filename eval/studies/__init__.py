"""How choices of the recipe were made: run by hand, with their tables in docs/."""
