"""What messages to nova-conductor and to other compute hosts have in common."""
