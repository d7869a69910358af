"""``mmavs publish``: write the weights of a checkpoint to a file for others."""
import argparse
import sys

DESCRIPTION = 'Write the weights of a checkpoint, without the state of its training, to a file for others'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.epilog = ('Classes, colors, input size and name of the config are kept, the text of the config is not. The '
                     'file is read again and compared before it gets its name, which is printed.')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='a checkpoint of a training, or a converted one')
    parser.add_argument('out', metavar='OUT', help='file to write, .safetensors (the default) or .pth; its name gets '
                        'the first 8 digits of its SHA-256: NAME-0f1e2d3c.safetensors')
    parser.add_argument('--no-ema', action='store_true', help='of a training with EMAHook, publish the weights of the '
                        'optimizer (default: their average, which was validated)')


def run(args: argparse.Namespace) -> None:
    """Publish; print the name of the file on stdout, and what it holds on stderr."""
    from mmavs.apis import publish_checkpoint
    from mmavs.checkpoint.training_settings import TRAINED_FOR
    from mmavs.utils.terminal import quiet_libraries

    quiet_libraries()
    result = publish_checkpoint(args.checkpoint, args.out, averaged=not args.no_ema)
    kind = {True: ', the average of the training (EMA)', False: ', those of the optimizer (not EMA)', None: ''}
    print(f'{result.num_tensors} tensors{kind[result.averaged]}; SHA-256 {result.sha256}'
          f'{"; the same file was there already" if result.existed else ""}', file=sys.stderr)
    if not (result.meta.get('dataset_meta') or result.meta.get(TRAINED_FOR)):
        print('warning: the checkpoint does not state the classes of its training; users take those of their config',
              file=sys.stderr)
    print(result.path)
