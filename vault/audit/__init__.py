"""The evidence: log entries, the tree over them, signed checkpoints, export and offline verification.

The format modules are pure: bytes and values in, bytes and values out, no
clock, no storage. ``verify`` reads an export and public keys and nothing else.
"""
