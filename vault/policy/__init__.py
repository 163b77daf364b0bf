"""The published policy as data: a pure parser and the immutable value it yields."""
