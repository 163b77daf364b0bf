"""Tests of what the bench computes; what it measures is not tested."""
