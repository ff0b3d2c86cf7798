"""Entry points of the console scripts; no logic."""
