"""Serve the API and the page on this machine, each on a port of its own: python -m examples.two_origins."""

import argparse
import asyncio
import os

import uvicorn

GREETING = """
  Two origins. Open the page at two addresses, and compare:

    {page}
      the origin that the API allows
    {stranger}
      the same page, as a stranger: another host is another origin, and another site

  Or be a browser yourself, asking for permission (a preflight):

    curl -i -X OPTIONS {api}/notes -H 'Origin: {page}' -H 'Access-Control-Request-Method: POST'
    curl -i -X OPTIONS {api}/notes -H 'Origin: {stranger}' -H 'Access-Control-Request-Method: POST'

  Ctrl-C stops it.
"""


async def serve(*servers: uvicorn.Server) -> None:
    async with asyncio.TaskGroup() as group:
        for server in servers:
            group.create_task(server.serve())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.two_origins", description=__doc__)
    parser.add_argument("--api-port", type=int, default=8000)
    parser.add_argument("--page-port", type=int, default=8001)
    ports = parser.parse_args()

    os.environ.setdefault("SECGUARD_ENVIRONMENT", "development")
    os.environ["API_ORIGIN"] = api = f"http://localhost:{ports.api_port}"
    os.environ["PAGE_ORIGIN"] = page = f"http://localhost:{ports.page_port}"
    print(GREETING.format(api=api, page=page, stranger=page.replace("localhost", "127.0.0.1")), flush=True)
    made = [
        uvicorn.Config(f"examples.two_origins.{name}:app", port=port, server_header=False, proxy_headers=False)
        for name, port in (("api", ports.api_port), ("page", ports.page_port))
    ]
    try:
        asyncio.run(serve(*map(uvicorn.Server, made)))
    except KeyboardInterrupt:
        print("Stopped.")


if __name__ == "__main__":
    main()
