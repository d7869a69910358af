"""User errors and errors of the program, in the main process and in the workers of a data loader."""
import pytest
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, Dataset

from mmavs.checkpoint.tensor_file import load_tensor
from mmavs.utils.device import select_device
from mmavs.utils.errors import DataError, cli_errors, worker_errors
from mmavs.utils.randomness import derive_seed


class Clips(Dataset):
    """Loads a tensor from a file, or derives a seed from what is not a number."""

    def __init__(self, path=None):
        self.path = path

    def __len__(self):
        return 1

    @worker_errors
    def __getitem__(self, idx):
        return load_tensor(self.path) if self.path else derive_seed('not a number')


@pytest.mark.parametrize('num_workers', [0, 1])
def test_a_user_error_ends_in_its_bare_message(tmp_path, num_workers):
    path = tmp_path / 'damaged.pkl'
    path.write_bytes(b'')
    with pytest.raises(SystemExit) as error, cli_errors():
        list(DataLoader(Clips(path), num_workers=num_workers))
    message = str(error.value)
    assert message.startswith(f'error: {path}: not a readable pickle of a tensor') and '\n' not in message


def test_a_user_error_of_a_worker_is_a_data_error_and_keeps_its_class_elsewhere(tmp_path):
    missing = Clips(tmp_path / 'missing.pkl')
    with pytest.raises(FileNotFoundError, match='missing.pkl: no such file'):
        missing[0]
    with pytest.raises(DataError, match=r'^/.*missing.pkl: no such file'):
        list(DataLoader(missing, num_workers=1))


def test_an_error_of_the_program_in_a_worker_keeps_its_traceback():
    with pytest.raises(ValueError, match='Caught ValueError in DataLoader worker process 0') as error, cli_errors():
        list(DataLoader(Clips(), num_workers=1))
    assert not isinstance(error.value, DataError)


def test_a_data_error_keeps_all_lines_of_its_message():
    message = 'file.wav: damaged\n  ValueError: second line'
    try:
        raise DataError(message) from ValueError('cause')
    except DataError as error:
        assert str(error) == message
        wrapped = ExceptionWrapper(where='in DataLoader worker process 0')
    with pytest.raises(DataError) as error:
        wrapped.reraise()
    assert str(error.value) == message


def test_a_device_that_does_not_exist_is_a_user_error():
    for device in ('cudax', 'cuda:63'):
        with pytest.raises(SystemExit, match=f"error: device is '{device}', which PyTorch cannot use"), cli_errors():
            select_device(device)
    assert select_device('cpu').type == 'cpu'
