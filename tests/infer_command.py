"""The command ``mmavs infer`` in this process."""
from mmavs.cli import main


def run(*arguments, status=0, model=('--model', 'm', '--weights', 'w')):
    """Run the command, which must end with the status: a number, or the text of an error."""
    try:
        main(['infer', *map(str, arguments), *model])
    except SystemExit as error:
        assert error.code == status
    else:
        assert status == 0
