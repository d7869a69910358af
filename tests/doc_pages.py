"""Run the code of documentation pages as it stands: files are written, shell lines, tools and commands run."""
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from mmavs.cli import main

REPOSITORY = Path(__file__).parents[1]
BLOCK = re.compile(r'^( *)```(python|bash)\n(.*?)^\1```', re.DOTALL | re.MULTILINE)
# A run of two steps in this process, with validation. Options that follow those of a page replace them.
SHORT = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'param_scheduler.1.end=21',
         'default_hooks.checkpoint.interval=2', 'default_hooks.logger.interval=1'] + [
             f'{split}_dataloader.{option}' for split in ('train', 'val')
             for option in ('num_workers=0', 'persistent_workers=False')]
# In place of Python: sends the arguments, and ends with the exit code that comes back.
PYTHON = """python() { printf '%s\\0' "$@" >&3; printf '\\n' >&3; local code; read -r code <&4; return $code; }
mmavs() { python mmavs "$@"; }
"""


def blocks(text: str) -> list[tuple[str, str]]:
    """List the Python and shell code of a page: language and text."""
    return [(language, re.sub(rf'^{indent}', '', code, flags=re.MULTILINE))
            for indent, language, code in BLOCK.findall(text)]


def file_blocks(text: str) -> list[tuple[str, str]]:
    """List the files of a page: path and content of the Python code that begins with ``# PATH``."""
    found = (re.match(r'# (\S+/\S+)\n', code) for language, code in blocks(text) if language == 'python')
    return [(match[1], match.string) for match in found if match]


def make_checkout(root: Path, files: Iterable[tuple[str, str]]) -> Path:
    """Make a directory with the tools of the repository, its configs unless there are others, and further files."""
    for name in ('configs', 'tools'):
        if not (root / name).exists():
            (root / name).symlink_to(REPOSITORY / name)
    for path, content in files:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return root


def run_shell(code: str, run_tool: Callable, options: Callable[[str], list[str]] = lambda tool: []) -> None:
    """Run shell lines by bash in the current directory; ``mmavs``, and ``python tools/X.py`` by ``run_tool``, run here.

    Args:
        code: The lines. The first command that fails ends them with an AssertionError.
        run_tool: The fixture.
        options: Function from the name of a tool to arguments that are added to those of the page.
    """
    requests, replies = os.pipe(), os.pipe()
    bash = subprocess.Popen(
        [shutil.which('bash'), '-e', '-u', '-c', f'exec 3>&{requests[1]} 4<&{replies[0]}; {PYTHON}\n{code}'],
        pass_fds=(requests[1], replies[0]), stdin=subprocess.DEVNULL)
    os.close(requests[1])
    os.close(replies[0])
    with open(requests[0], newline='\n') as lines, open(replies[1], 'w') as answers:
        for line in lines:
            script, *arguments = line.rstrip('\n').split('\0')[:-1]
            failed = 1
            try:
                if script == 'mmavs':
                    main(arguments)
                else:
                    tool = Path(script).relative_to('tools').with_suffix('').as_posix()
                    run_tool(tool, *arguments, *options(tool))
                failed = 0
            except SystemExit as end:
                failed = int(end.code not in (0, None))
                if isinstance(end.code, str):
                    print(end.code)
            finally:
                answers.write(f'{failed}\n')
                answers.flush()
    assert bash.wait() == 0, f'bash: exit code {bash.returncode} of\n{code}'
