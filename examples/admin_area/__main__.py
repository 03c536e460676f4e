"""Serve the example on this machine, and on no other: python -m examples.admin_area --port 8001."""

import argparse
import os

import uvicorn

RULES = '[{"paths": ["/admin"], "allow": ["127.0.0.1"]}]'

GREETING = """
  SECGUARD_IP_ACCESS__RULES={rules}

    curl -i {url}/
      for everybody
    curl -i {url}/admin/
      for those in the list
    curl -i --interface 127.0.0.2 {url}/admin/
      from another address (Linux has many on loopback): refused
    curl -i --interface 127.0.0.2 -H 'X-Forwarded-For: 127.0.0.1' {url}/admin/
      refused: nobody is believed who is no trusted proxy

  SECGUARD_IP_ACCESS__REFUSAL=404 python -m examples.admin_area   hides the area.
  Ctrl-C stops it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.admin_area", description=__doc__)
    parser.add_argument("--port", type=int, default=8001)
    port = parser.parse_args().port
    rules = os.environ.setdefault("SECGUARD_IP_ACCESS__RULES", RULES)
    print(GREETING.format(rules=rules, url=f"http://127.0.0.1:{port}"), flush=True)
    # uvicorn believes X-Forwarded-For from loopback, unless told not to: the address would be the client's own choice.
    config = uvicorn.Config(
        "examples.admin_area.app:build", factory=True, port=port, server_header=False, proxy_headers=False
    )
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        print("Stopped.")


if __name__ == "__main__":
    main()
