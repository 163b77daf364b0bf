"""Rotation of keys: a new epoch serves new data at once, data keys are re-wrapped behind it."""
