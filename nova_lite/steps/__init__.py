"""Idempotent bricks that operations are made of."""
