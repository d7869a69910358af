#!/usr/bin/env python
"""Check a dataset: print one line per missing, unreadable or inconsistent file; exit with code 1 if there is any."""
from mmavs.cli import check_data, run_tool


def main() -> None:
    run_tool(check_data)


if __name__ == '__main__':
    main()
