"""Nouns of the vault: actions, actors, ids and the error tree. Imports the standard library only."""
