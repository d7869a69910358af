#!/usr/bin/env python
"""Train a model: ``python tools/train.py CONFIG``."""
from mmavs.cli import run_tool, train


def main() -> None:
    run_tool(train)


if __name__ == '__main__':
    main()
