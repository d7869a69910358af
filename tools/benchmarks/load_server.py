#!/usr/bin/env python
"""Load a running ``mmavs serve`` with concurrent clients: ``python tools/benchmarks/load_server.py VIDEO``.

Each client uploads the video, waits for the masks and begins again, until the time is over, which begins when all of
them are connected. The report, JSON on stdout, has the numbers of jobs that were sent, answered, refused because the
queue was full, failed and lost; the percentiles of the seconds of those that were answered; and the peaks of concurrent
and waiting jobs, of files and of memory, each with its limit. The exit status is 1 if a job failed or was lost, if a
limit was exceeded, or if the server counts other jobs than the clients.
"""
import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from pathlib import Path

from mmavs.cli.arguments import positive_int
from mmavs.utils.errors import cli_errors
from mmavs.utils.optional_packages import optional_import

# Seconds between two looks at /metrics.
INTERVAL = 0.5
# Seconds that a client waits for an answer; the 5 of httpx are too few for a server whose CPUs are busy.
REQUEST_SECONDS = 120
# Seconds after which a job that has not been answered is lost.
LOST_SECONDS = 900
# Part of the message of Gradio when the queue is full.
REFUSED = 'Queue is full'
PERCENTILES = (50, 95, 99)
WORKERS_MEMORY = 'mmavs_memory_bytes{process="workers"}'
# Metrics whose largest value is reported, and the label of their limit.
WATCHED = {'mmavs_running_jobs': 'running_jobs', 'mmavs_queued_jobs': 'queued_jobs',
           'mmavs_stored_bytes': 'stored_bytes', WORKERS_MEMORY: 'workers_memory_bytes',
           'mmavs_memory_bytes{process="server"}': None}
LIMIT, OUTCOMES = 'mmavs_limit{{of="{}"}}', 'mmavs_jobs_total{outcome='


@dataclass
class Answers:
    """Outcomes of the jobs of all clients.

    Attributes:
        sent: Number of jobs that were begun.
        outcomes: Of each job that came to an end: 'answered', 'refused', 'lost', or 'failed: ' and the message.
        seconds: Seconds of those that were answered.
    """
    sent: int = 0
    outcomes: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Load a running mmavs serve with concurrent clients')
    parser.add_argument('video', type=Path, help='video that each job segments')
    parser.add_argument('--url', default='http://127.0.0.1:7860', help='the server (default: http://127.0.0.1:7860)')
    parser.add_argument('--clients', type=positive_int, default=20, help='concurrent clients (default: 20)')
    parser.add_argument('--seconds', type=positive_int, default=300,
                        help='time in which jobs begin; those that run are waited for (default: 300)')
    return parser.parse_args()


def read_metrics(url: str) -> dict[str, float]:
    """Read the values of ``/metrics``."""
    with urllib.request.urlopen(f'{url}/metrics', timeout=REQUEST_SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(' ', 1) for line in lines if not line.startswith('#'))}


def connect(url: str, directory: str):
    """Connect a client, which downloads into a directory of its own."""
    library = optional_import('gradio_client', 'loading a server', 'mmavs[web]')
    return library.Client(url, verbose=False, download_files=tempfile.mkdtemp(dir=directory),
                          httpx_kwargs=dict(timeout=REQUEST_SECONDS))


def run_client(client, video: Path, end: float, answers: Answers) -> None:
    """Send a job, and one after the other until the end, and count how each ended."""
    from gradio_client import handle_file

    while True:
        begin = time.monotonic()
        answers.sent += 1
        try:
            job = client.submit(handle_file(str(video)), compared=False, api_name='/segment')
            result = job.result(timeout=LOST_SECONDS)
            outcome = 'answered' if Path(result[2]).stat().st_size else 'lost'
        except (TimeoutError, FutureTimeoutError):
            outcome = 'lost'
        except Exception as error:  # whatever a client raises is an answer of the server
            outcome = 'refused' if REFUSED in str(error) else f'failed: {error}'
        answers.outcomes.append(outcome)
        if outcome == 'answered':
            answers.seconds.append(time.monotonic() - begin)
        else:
            time.sleep(1)
        for path in Path(client.output_dir).iterdir():
            shutil.rmtree(path, ignore_errors=True)
        if time.monotonic() > end:
            return


def load(url: str, video: Path, num_clients: int, seconds: int) -> dict:
    """Run the clients and return the report."""
    with tempfile.TemporaryDirectory(prefix='mmavs-load-') as directory:
        with ThreadPoolExecutor(num_clients) as executor:
            clients = list(executor.map(connect, [url] * num_clients, [directory] * num_clients))
        return _load(url, video, clients, seconds)


def _load(url: str, video: Path, clients: list, seconds: int) -> dict:
    before, begin, answers = read_metrics(url), time.monotonic(), Answers()
    threads = [threading.Thread(target=run_client, args=(client, video, begin + seconds, answers), daemon=True)
               for client in clients]
    for thread in threads:
        thread.start()
    peaks = dict.fromkeys(WATCHED, 0.0)
    while any(thread.is_alive() for thread in threads):
        time.sleep(INTERVAL)
        values = read_metrics(url)
        peaks = {name: max(value, values.get(name, 0.0)) for name, value in peaks.items()}
    took, after = time.monotonic() - begin, read_metrics(url)
    kinds = Counter(outcome.partition(':')[0] for outcome in answers.outcomes)
    # A client that ended without an answer has lost its job.
    kinds['lost'] += answers.sent - len(answers.outcomes)
    percentiles = statistics.quantiles(answers.seconds, n=100) if len(answers.seconds) > 1 else []
    return dict(
        url=url, clients=len(clients), seconds=round(took, 1),
        jobs=dict(sent=answers.sent, **{kind: kinds[kind] for kind in ('answered', 'refused', 'failed', 'lost')}),
        failures=sorted({outcome for outcome in answers.outcomes if outcome.startswith('failed')}),
        server_jobs={name[len(OUTCOMES):].strip('}"'): after[name] - before.get(name, 0)
                     for name in after if name.startswith(OUTCOMES)},
        jobs_per_minute=round(60 * len(answers.seconds) / took, 2),
        seconds_per_job={f'p{p}': round(percentiles[p - 1], 2) for p in PERCENTILES} if percentiles else {},
        peaks={name: dict(peak=value, limit=_limit(name, before)) for name, value in peaks.items()})


def _limit(name: str, before: dict[str, float]) -> float | None:
    """Limit of a metric as the server states it; None if it has none.

    The limit of the memory is that of the jobs, beyond what the workers had before.
    """
    limit = before.get(LIMIT.format(WATCHED[name]))
    return limit + before[WORKERS_MEMORY] if limit is not None and name == WORKERS_MEMORY else limit


def faults(report: dict) -> list[str]:
    """Describe the faults of a report in sentences; none after a load that the server has withstood."""
    jobs = report['jobs']
    found = [f'{jobs[kind]} job(s) {kind}' for kind in ('failed', 'lost') if jobs[kind]]
    found += [f'{name} was {peak["peak"]:g}, the limit is {peak["limit"]:g}' for name, peak in report['peaks'].items()
              if peak['limit'] is not None and peak['peak'] > peak['limit']]
    if report['server_jobs']['finished'] != jobs['answered']:
        found.append(f"the server finished {report['server_jobs']['finished']:g} jobs, the clients got "
                     f"{jobs['answered']} answers")
    return found


@cli_errors()
def main() -> None:
    args = parse_args()
    if not args.video.is_file():
        raise FileNotFoundError(f'{args.video}: no such file, expected a video')
    try:
        report = load(args.url.rstrip('/'), args.video, args.clients, args.seconds)
    except OSError as error:
        raise OSError(f'{args.url}: the server does not answer ({error}): start it with mmavs serve') from error
    print(json.dumps(report, indent=2))
    if found := faults(report):
        sys.exit(f'error: {"; ".join(found)}')


if __name__ == '__main__':
    main()
