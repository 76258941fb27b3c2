"""
``python -m onehouse_tracker`` is the command.
"""

from __future__ import annotations

import sys

from onehouse_tracker.cli import main

if __name__ == "__main__":
    sys.exit(main())
