#!/usr/bin/env python
"""Write the weights of a checkpoint to a file for others, with its SHA-256 in the name.

``python tools/model_converters/publish_model.py CHECKPOINT NAME.safetensors``
"""
from mmavs.cli import publish, run_tool


def main() -> None:
    run_tool(publish)


if __name__ == '__main__':
    main()
