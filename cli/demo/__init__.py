"""The whole story against a real server, on invented people: what the vault does, and what it refuses."""
