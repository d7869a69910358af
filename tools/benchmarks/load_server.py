#!/usr/bin/env python
"""Load a running ``mmavs serve`` with concurrent clients: ``python tools/benchmarks/load_server.py VIDEO``.

Each client uploads the video, waits for the masks and begins again, until the time is over. The report, JSON on stdout,
says how many jobs were answered, refused because the queue was full, failed or lost, the percentiles of their seconds,
and the largest numbers of jobs and of bytes that ``/metrics`` has stated. The exit status is 1 if a job failed or was
lost, or if the server counts other jobs than the clients.
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
from pathlib import Path

from mmavs.cli.arguments import positive_int
from mmavs.utils.errors import cli_errors
from mmavs.utils.optional_packages import optional_import

# Seconds between two looks at /metrics.
INTERVAL = 1.0
# Seconds that a client waits for an answer; the 5 of httpx are too few for a server whose CPUs are busy.
REQUEST_SECONDS = 120
# Part of the message of Gradio when the queue is full.
REFUSED = 'Queue is full'
# Metrics whose largest value is reported.
WATCHED = ('mmavs_running_jobs', 'mmavs_queued_jobs', 'mmavs_stored_bytes', 'mmavs_memory_bytes{process="server"}',
           'mmavs_memory_bytes{process="workers"}')
OUTCOMES = 'mmavs_jobs_total{outcome='


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
    with urllib.request.urlopen(f'{url}/metrics', timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(' ', 1) for line in lines if not line.startswith('#'))}


def run_client(url: str, video: Path, end: float, answers: list[tuple[str, float]]) -> None:
    """Send one job after the other until the end; append how each ended, and its seconds."""
    client_library = optional_import('gradio_client', 'loading a server', 'mmavs[web]')
    with tempfile.TemporaryDirectory() as directory:
        client = client_library.Client(url, verbose=False, download_files=directory,
                                       httpx_kwargs=dict(timeout=REQUEST_SECONDS))
        while time.monotonic() < end:
            begin = time.monotonic()
            try:
                result = client.predict(client_library.handle_file(str(video)), compared=False,
                                        api_name='/segment')
                outcome = 'answered' if Path(result[2]).stat().st_size else 'lost'
            except Exception as error:  # whatever a client raises is an answer of the server, or none
                outcome = 'refused' if REFUSED in str(error) else f'failed: {error}'
            answers.append((outcome, time.monotonic() - begin))
            if outcome != 'answered':
                time.sleep(1)
            shutil.rmtree(directory, ignore_errors=True)
            Path(directory).mkdir(exist_ok=True)


def load(url: str, video: Path, num_clients: int, seconds: int) -> dict:
    """Run the clients and return the report."""
    before, begin = read_metrics(url), time.monotonic()
    answers: list[tuple[str, float]] = []
    clients = [threading.Thread(target=run_client, args=(url, video, begin + seconds, answers), daemon=True)
               for _ in range(num_clients)]
    for client in clients:
        client.start()
    largest = dict.fromkeys(WATCHED, 0.0)
    while any(client.is_alive() for client in clients):
        time.sleep(INTERVAL)
        values = read_metrics(url)
        largest = {name: max(value, values.get(name, 0.0)) for name, value in largest.items()}
    after = read_metrics(url)
    times = sorted(taken for outcome, taken in answers if outcome == 'answered')
    percentiles = statistics.quantiles(times, n=100) if len(times) > 1 else []
    return dict(
        url=url, clients=num_clients, seconds=round(time.monotonic() - begin, 1),
        jobs=dict(Counter(outcome for outcome, _ in answers)),
        server_jobs={name[len(OUTCOMES):].strip('}"'): after[name] - before.get(name, 0)
                     for name in after if name.startswith(OUTCOMES)},
        jobs_per_minute=round(60 * len(times) / (time.monotonic() - begin), 2),
        seconds_per_job={f'p{p}': round(percentiles[p - 1], 2) for p in (50, 95, 99)} if percentiles else {},
        largest=largest)


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
    answered = report['jobs'].get('answered', 0)
    if set(report['jobs']) - {'answered', 'refused'} or report['server_jobs']['finished'] != answered:
        sys.exit(1)


if __name__ == '__main__':
    main()
