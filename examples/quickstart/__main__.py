"""Serve the quickstart on this machine, and on no other: python -m examples.quickstart --port 8000."""

import argparse
import errno
import socket

import uvicorn

LOOPBACK = "127.0.0.1"

GREETING = """
  secguard quickstart: {url}
{note}
  Open it in a browser, and attack it:

    {url}/csp
      repeats what you inject, unescaped; its policy is what stands behind that

  Or look from here:

    curl -i {url}/
      the headers that protect(app) adds
    curl -i {url}//api/request
      refused: servers and frameworks disagree about what this path means
    curl -i -H 'Host: evil.example' {url}/
      refused: in development, the app answers to loopback names only

  SECGUARD_PROFILE=strict make demo   shows the best that a new app can do.
  SECGUARD_CSP=off make demo          shows what an injection does where no policy stands behind it.
  Ctrl-C stops it.
"""


def bind(port: int) -> socket.socket:
    """Listen on `port`, or on any free one where somebody else does already."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise
        listener.bind((LOOPBACK, 0))
    return listener


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.quickstart", description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    wanted = parser.parse_args().port

    listener = bind(wanted)
    port = listener.getsockname()[1]
    note = f"  (port {wanted} is taken, so this is another one)\n" if port != wanted and wanted else ""
    print(GREETING.format(url=f"http://{LOOPBACK}:{port}", note=note), flush=True)

    # uvicorn adds `Server` below ASGI, where nobody can take it away, and believes X-Forwarded-* from loopback.
    config = uvicorn.Config(
        "examples.quickstart.app:app", server_header=False, proxy_headers=False, timeout_graceful_shutdown=2
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        print("Stopped.")


if __name__ == "__main__":
    main()
