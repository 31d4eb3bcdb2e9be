"""Experiments by the dozen: named trials and searches, resumable and parallel, and their table."""
