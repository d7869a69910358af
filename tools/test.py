#!/usr/bin/env python
"""Evaluate a checkpoint, or predict with it: ``python tools/test.py CONFIG CHECKPOINT``."""
from mmavs.cli import run_tool, test


def main() -> None:
    run_tool(test)


if __name__ == '__main__':
    main()
