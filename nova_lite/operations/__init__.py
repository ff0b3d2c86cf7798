"""One verb per file; ``engine`` runs them, ``journal`` remembers how far they got."""
