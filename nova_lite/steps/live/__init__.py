"""Steps of a server that goes to another host while it runs."""
