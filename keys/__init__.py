"""Keys and primitives: the only package that imports a cryptography library."""
