"""``python -m cli``: the same as ``piivault``."""

from cli.main import main

main()
