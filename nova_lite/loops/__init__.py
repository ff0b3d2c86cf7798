"""Periodic work, one ``tick()`` per file, and the timer that calls it."""
