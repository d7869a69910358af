#!/usr/bin/env python
"""Segment videos: ``python tools/segment_video.py VIDEO --model NAME --weights FILE --out DIR``."""
from mmavs.cli import infer, run_tool


def main() -> None:
    run_tool(infer)


if __name__ == '__main__':
    main()
