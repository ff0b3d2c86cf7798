"""Steps of a server that goes to another host, or gets another flavor on its own."""
