"""The agents of other compute hosts: what may be asked of them, and in which version."""
