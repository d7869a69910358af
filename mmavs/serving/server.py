"""Start the server: workers, page, ``/health`` and ``/metrics``."""
from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmavs.utils.optional_packages import optional_import

from .hidden_paths import HiddenPaths
from .jobs import JobRunner, delete_old_files
from .limits import Limits
from .messages import ServedModel
from .metrics import Metrics
from .request_guard import RequestGuard
from .worker_pool import WorkerPool

if TYPE_CHECKING:
    from fastapi import FastAPI

# Environment of Gradio: no statistics to its makers, no other server.
GRADIO_SETTINGS = dict(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1', GRADIO_SSR_MODE='False',
                       GRADIO_RUN_HISTORY='False')
# Names of this machine in the addresses of requests, for a server that is open to it alone.
LOCAL_NAMES = ['127.0.0.1', 'localhost', '[::1]', '::1']
# Directory of the examples, which are not deleted, below that of the server's files.
EXAMPLES = 'examples'
# Seconds between two deletions of old files.
SWEEP_INTERVAL = 30


def serve(models: Sequence[ServedModel], host: str, port: int, limits: Limits, device: str | None = None) -> None:
    """Serve until Ctrl-C.

    Args:
        models: The models.
        host: Name or address of this machine at which requests come in.
        port: Port; 0 for any that is free.
        limits: Limits of uploads and jobs.
        device: Device of the models; None: the GPU if there is one, else the CPU.

    Raises:
        ImportError: A package of the extra ``web`` is not installed.
        OSError: The port cannot be used.
        ValueError: A model cannot be loaded.
    """
    uvicorn = optional_import('uvicorn', 'mmavs serve', 'mmavs[web]')
    optional_import('gradio', 'mmavs serve', 'mmavs[web]')
    listener = _listen(host, port)
    with listener, _running_app(models, limits, device, host) as app:
        address = f'http://{host}:{listener.getsockname()[1]}'
        print(f'mmavs serve: {address} (Ctrl-C ends it)', flush=True)
        config = uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=2)
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        # Python adds the address to the reason of the system, not to that of the resolver of names.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno)
        raise OSError(f'{host}, port {port}: cannot be used ({reason}): choose others with --host and '
                      '--port') from error


@contextmanager
def _running_app(models: Sequence[ServedModel], limits: Limits, device: str | None,
                 host: str) -> Iterator[FastAPI]:
    """Start the workers, and end them with the context; files of the server go with it."""
    with tempfile.TemporaryDirectory(prefix='mmavs-serve-', ignore_cleanup_errors=True) as directory:
        directory = Path(os.path.realpath(directory))
        os.environ.update(GRADIO_SETTINGS, GRADIO_TEMP_DIR=str(directory))
        metrics, pool = Metrics(), WorkerPool(models, limits, device)
        ended = threading.Event()
        try:
            pool.start()
            runner = JobRunner(pool, directory, pool.make_examples(directory / EXAMPLES), limits, metrics)
            app = make_app(runner, local=host in LOCAL_NAMES)
            threading.Thread(target=_sweep, args=(directory, limits, ended), name='mmavs-sweep', daemon=True).start()
            yield app
        finally:
            ended.set()
            pool.close()


def _sweep(directory: Path, limits: Limits, ended: threading.Event) -> None:
    while not ended.wait(min(SWEEP_INTERVAL, limits.kept_seconds)):
        delete_old_files(directory, limits.kept_seconds, keep=directory / EXAMPLES)


def make_app(runner: JobRunner, local: bool) -> FastAPI:
    """Make the application: the page, its API, ``GET /health`` and ``GET /metrics``.

    Args:
        runner: What runs the jobs; Gradio's directory of files, ``GRADIO_TEMP_DIR``, is that of the runner.
        local: Whether only requests by a name of this machine are answered.
    """
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import JSONResponse, Response

    from .page import make_page, page_style

    metrics, limits, pool = runner.metrics, runner.limits, runner.pool
    page = make_page(runner, list(runner.examples))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get('/health')
    def health() -> JSONResponse:
        workers = pool.num_alive
        state = dict(status='ok' if workers else 'unavailable', workers=workers, idle_workers=pool.num_ready,
                     running_jobs=runner.num_running, queued_jobs=queue_length(page),
                     models=[model.name for model in pool.models])
        return JSONResponse(state, 200 if workers else 503)

    @app.get('/metrics')
    def all_metrics() -> Response:
        return Response(metrics.text(), media_type=metrics.content_type)

    metrics.watch('running_jobs', 'Jobs that run.', lambda: runner.num_running)
    metrics.watch('queued_jobs', 'Jobs that wait.', lambda: queue_length(page))
    metrics.watch('idle_workers', 'Workers that wait for a job.', lambda: pool.num_ready)
    metrics.watch('stored_bytes', 'Bytes of uploads and results.', runner.stored_bytes)
    metrics.watch_workers_memory(pool.memory)
    metrics.state_limits(
        running_jobs=limits.concurrent_jobs, queued_jobs=limits.queued_jobs, stored_bytes=limits.stored_bytes,
        workers_memory_bytes=limits.concurrent_jobs * limits.job_bytes)
    gr.mount_gradio_app(
        app, page, path='/', max_file_size=limits.upload_bytes, show_error=False, footer_links=['api'],
        run_history=False, enable_monitoring=False, ssr_mode=False, **page_style())
    # Gradio checks the paths of files in requests for pages that it has launched itself only.
    page.has_launched = True
    # The last one that is added comes first.
    app.add_middleware(HiddenPaths, directory=runner.directory)
    app.add_middleware(RequestGuard, stored_bytes=runner.stored_bytes, max_stored_bytes=limits.stored_bytes,
                       on_refusal=metrics.refused_requests.inc)
    if local:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOCAL_NAMES)
    return app


def queue_length(page) -> int:
    """Number of the jobs that wait in the queue of a page."""
    return len(page._queue)
