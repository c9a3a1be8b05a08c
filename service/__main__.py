"""Runs the commands: ``python -m service`` is ``batch-release``."""

from service.cli import main

if __name__ == "__main__":
    main()
