#!/usr/bin/env python
"""Print the model zoo as a table: ``python tools/list_models.py ['vct_*_avss']``."""
from mmavs.cli import models, run_tool


def main() -> None:
    run_tool(models)


if __name__ == '__main__':
    main()
