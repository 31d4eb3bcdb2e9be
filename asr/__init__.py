"""Dengar's library: pure functions and small classes, no servers, no globals.

The modules follow the path of the data, and each imports only those above it::

    errors, audio    ->  corpus  ->  augment  ->  features  ->  model  ->  train
                     ->  decode  ->  evaluate ->  bundle    ->  recognize
"""

__version__ = "0.1.0"
