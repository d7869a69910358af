"""Filter bank and final features of BEATs."""
import numpy as np
import torch

from mmavs.checkpoint.converters import CONVERTERS
from mmavs.registry import MODELS

from . import DEVICE
from .comparison import assert_within, relative_error

KEYS = {'seconds', 'seed'}
TOLERANCE = 1e-4


def check(directory, case, seeded):
    weights = seeded.state_dict(directory.name, directory.parent)
    conversion = CONVERTERS['beats'].convert(weights)
    assert conversion.used.keys() | conversion.dropped.keys() == weights.keys()
    model = MODELS.build(CONVERTERS['beats'].target(conversion.state_dict)).eval()
    model.load_state_dict(conversion.state_dict, strict=True)
    model.to(DEVICE)

    expected = seeded.expected(directory.name, directory.parent)
    for seconds in case['seconds']:
        samples = seeded.waveform(case['seed'], seconds)[:, 0].astype(np.float32) / 32768
        waveform = torch.from_numpy(samples)[None].to(DEVICE)
        with torch.no_grad():
            rows = model.filter_bank(waveform)
            tokens = model.encode_filter_bank(rows)
        name = next(x for x in (f'{seconds}s', f'{float(seconds)}s') if f'tokens_{x}' in expected)
        compare(f'fbank_{name}', rows[0, ::4, ::4], expected)
        compare(f'tokens_{name}', tokens[0, ::3, ::8], expected)
        if rows.shape[1] // 16 == 6:
            torch.testing.assert_close(model(waveform, 1)[0, 0], tokens[0])


def compare(name, found, expected):
    error = relative_error(name, found.cpu().numpy(), expected[name])
    print(f'{name}: largest difference {error:.2g} of the largest value')
    assert_within({name: error}, TOLERANCE)
