"""Write the example files beside this one: ``python examples/generate.py``, from the project root.

The content is that of the demo and does not vary; a test compares it.
"""

from __future__ import annotations

from pathlib import Path

from cli.demo_data import FILES


def main() -> None:
    """Write every example file, replacing what is there."""
    here = Path(__file__).parent
    for name, content in FILES.items():
        (here / name).write_text(content(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
