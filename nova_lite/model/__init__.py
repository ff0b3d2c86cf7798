"""Plain data and the state machine; imports nothing else of nova_lite."""
