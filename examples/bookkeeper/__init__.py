"""A server that is sent what happens, and books it once."""
