"""Load: paced streams against a server, and what its streams then see."""
