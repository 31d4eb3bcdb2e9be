"""Learning from what is kept: names that are noticed, decided on, learned, tested and served."""
