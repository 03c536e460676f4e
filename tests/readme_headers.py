"""The answers that README.md shows, as really received: `python -m tests.readme_headers` writes them anew.

README's own app is served by uvicorn, once bare and once with its last line, over http and over https. Each answer goes
between `<!-- received: NAME -->` and `<!-- end -->`.
"""

import http.client
import re
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

from tests.serving import LOOPBACK, ROOT, uvicorn

README = ROOT / "README.md"
APP = re.compile(r"^```python\n(from fastapi import FastAPI\n.*?)^```", re.DOTALL | re.MULTILINE)
RECEIVED = re.compile(r"(?<=<!-- received: )(?P<name>[\w-]+) -->\n.*?(?=<!-- end -->)", re.DOTALL)
SECGUARD = re.compile(r"^.*(?:secguard|protect).*\n+", re.MULTILINE)
A_DATE = "Sun, 22 Nov 2026 12:00:00 GMT"


def app_of(readme: str) -> str:
    """Return the code of README's first FastAPI app."""
    found = APP.search(readme)
    assert found, "README.md shows no FastAPI app"
    return found[1]


def fetch(connection: http.client.HTTPConnection) -> str:
    """Return the answer to GET /: the status line and every header line, in order, with the date fixed."""
    connection.request("GET", "/")
    answer = connection.getresponse()
    lines = [f"{name}: {A_DATE if name == 'date' else value}" for name, value in answer.getheaders()]
    answer.read()
    connection.close()
    return "\n".join([f"HTTP/1.1 {answer.status} {answer.reason}", *lines])


def capture(readme: str) -> dict[str, str]:
    """Return the answers of README's app by name: bare, over http, and what https adds to that."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        hardened = app_of(readme)
        folder.joinpath("hardened.py").write_text(hardened)
        folder.joinpath("bare.py").write_text(SECGUARD.sub("", hardened))
        authority = trustme.CA()
        certificate = authority.issue_cert(LOOPBACK)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        context = ssl.create_default_context()
        authority.configure_trust(context)

        with uvicorn("bare:app", folder=folder) as port:
            before = fetch(http.client.HTTPConnection(LOOPBACK, port, timeout=10))
        with uvicorn("hardened:app", "--no-server-header", folder=folder) as port:
            after = fetch(http.client.HTTPConnection(LOOPBACK, port, timeout=10))
        tls = ["--no-server-header", "--ssl-certfile", "server.pem"]
        with uvicorn("hardened:app", *tls, folder=folder) as port:
            secure = fetch(http.client.HTTPSConnection(LOOPBACK, port, timeout=10, context=context))
    added = [line for line in secure.splitlines() if line not in after.splitlines()]
    return {"before": before, "after": after, "https": "\n".join(added)}


def rewritten(readme: str) -> str:
    """Return README with its received answers as they are received now."""
    answers = capture(readme)
    return RECEIVED.sub(lambda found: f"{found['name']} -->\n```http\n{answers[found['name']]}\n```\n", readme)


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text()))
