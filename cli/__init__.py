"""The piivault command."""
