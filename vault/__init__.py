"""What the vault does, below any transport."""
