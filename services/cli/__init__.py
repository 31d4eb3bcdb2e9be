"""The `dengar` command: thin modules, one per group of commands."""
