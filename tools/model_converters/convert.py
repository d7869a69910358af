#!/usr/bin/env python
"""Convert a published checkpoint to mmavs, or one of mmavs to the names of the authors.

``python tools/model_converters/convert.py --from vct SRC DST``, ``... --to vct SRC DST``
"""
from mmavs.cli import convert, run_tool


def main() -> None:
    run_tool(convert)


if __name__ == '__main__':
    main()
