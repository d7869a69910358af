"""Shared by all rooms: configs, model zoo, files, random numbers, errors."""
