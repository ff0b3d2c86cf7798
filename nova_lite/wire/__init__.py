"""Nova's encoding of objects, contexts and exceptions; the only room that knows it."""
