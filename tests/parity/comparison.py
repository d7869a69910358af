"""Comparison of arrays with those of a case. Every difference must be finite and within its tolerance."""
import numpy as np


def relative_errors(found: dict, expected: dict) -> dict[str, float]:
    """Largest difference of each expected array, relative to the array's largest magnitude.

    Args:
        found: Arrays by name; may hold more than is expected.
        expected: Arrays by name.
    """
    missing = sorted(set(expected) - set(found))
    assert not missing, f'no output for {missing}'
    return {name: relative_error(name, found[name], values) for name, values in expected.items()}


def relative_error(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape, f'{name}: the shape is {found.shape}, expected {expected.shape}'
    difference = np.abs(np.asarray(found, np.float64) - expected).max(initial=0)
    return float(difference / (np.abs(expected).max(initial=0) or 1))


def assert_within(errors: dict[str, float], tolerance: float) -> None:
    """Fail unless every error is finite and at most the tolerance; a NaN is neither."""
    beyond = {name: error for name, error in errors.items() if not error <= tolerance}
    assert not beyond, f'beyond the tolerance of {tolerance:g}: {beyond}'


def largest(errors: dict[str, float], num: int = 5) -> dict[str, float]:
    """The largest errors, rounded for a message."""
    return {key: float(f'{errors[key]:.2g}') for key in sorted(errors, key=errors.get)[:-num - 1:-1]}
