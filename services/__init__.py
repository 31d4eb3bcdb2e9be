"""Long-running processes and the command line; everything here may import `asr`, never the reverse."""
