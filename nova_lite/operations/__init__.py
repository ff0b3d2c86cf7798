"""One verb of the compute RPC API per file; ``engine/`` runs them."""
