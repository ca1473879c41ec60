"""How fast webhooks are sent, and what the event loop that the vault shares with them feels of it."""
