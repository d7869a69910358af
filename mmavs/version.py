"""The version of mmavs, kept free of imports so that builds can read it."""
__version__ = '0.1.0'
