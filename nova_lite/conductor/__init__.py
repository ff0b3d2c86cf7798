"""What the agent asks of nova-conductor: one thin file per noun."""
