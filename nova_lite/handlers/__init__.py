"""RPC methods answered at once: they change nothing on disk, so there is nothing to journal."""
