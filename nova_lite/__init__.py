"""A kill-proof agent for OpenStack compute hosts."""
