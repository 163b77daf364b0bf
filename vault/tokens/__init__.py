"""Tokens: swap values for tokens and back, find them, show and revoke them."""
