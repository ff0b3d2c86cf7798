"""Steps: the idempotent parts that operations are made of."""
