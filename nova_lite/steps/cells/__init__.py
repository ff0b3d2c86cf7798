"""Steps of a server that moves to a host in another cell."""
