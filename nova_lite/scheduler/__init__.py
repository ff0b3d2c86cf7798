"""What nova-scheduler is told."""
