"""`streamrnn web` and `streamrnn metrics`: a running daemon in a browser, and for Prometheus."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from streamrnn.cli.client import CONTROL, Control, KeyFile
from streamrnn.cli.exits import Exit, fail
from streamrnn.cli.page import PORT
from streamrnn.cli.streams import steady

app = typer.Typer()

METRICS_PORT = 9787
NEEDED = "starlette", "uvicorn", "prometheus_client"

Port = Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="The port; 0 takes a free one.")]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; beyond this machine it takes TLS.")]
Token = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The file of its token, made if it is not there; else a new one.")
]
Certificate = Annotated[Path | None, typer.Option(metavar="FILE", help="For TLS, in PEM, with --private-key.")]
PrivateKey = Annotated[Path | None, typer.Option("--private-key", metavar="FILE", help="Of the certificate, in PEM.")]
Insecure = Annotated[
    bool,
    typer.Option("--insecure-host", help="Listen beyond this machine without TLS: whoever is between reads it all."),
]


def installed() -> bool:
    """Whether what the page needs is there."""
    return all(find_spec(name) for name in NEEDED)


@app.command()
def web(
    control: Control = CONTROL,
    key: KeyFile = None,
    port: Port = PORT,
    host: Host = "127.0.0.1",
    token: Token = None,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    insecure_host: Insecure = False,
) -> None:
    """Show a running daemon in a browser, and its metrics at /metrics; prints the address, which has a token in it."""
    serve(control, key, port, host, token, certificate, private_key, insecure_host, page=True)


@app.command()
def metrics(
    control: Control = CONTROL,
    key: KeyFile = None,
    port: Port = METRICS_PORT,
    host: Host = "127.0.0.1",
    token: Token = None,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    insecure_host: Insecure = False,
) -> None:
    """Serve the metrics of a running daemon to Prometheus, at /metrics, without the page."""
    serve(control, key, port, host, token, certificate, private_key, insecure_host, page=False)


def serve(
    control: str,
    key: Path | None,
    port: int,
    host: str,
    token: Path | None,
    certificate: Path | None,
    private_key: Path | None,
    insecure: bool,
    page: bool,
) -> None:
    """Check what was asked for, print the address, and serve until Ctrl-C."""
    if not installed():
        fail("this needs more than is installed: pip install streamrnn[web]", Exit.USAGE)
    from streamrnn.web import server

    if (certificate is None) != (private_key is None):
        fail("--certificate and --private-key belong together", Exit.USAGE)
    tls = server.Tls(certificate, private_key) if certificate and private_key else None
    if not (server.is_loopback(host) or tls or insecure):
        fail(f"{host} can be reached from other machines: give --certificate and --private-key", Exit.USAGE)
    if host in ("", "*", "0.0.0.0", "::"):
        fail("--host names one address, by which the page is called: not all of them", Exit.USAGE)
    try:
        known = server.token_in(token) if token else server.new_token()
        listening = server.listen(host, port)
        with steady():
            address = server.address_of(listening, host, tls is not None)
            print(f"{address}?token={known}" if page else f"{address}metrics", flush=True)
            if not page and token is None:
                print(f"token {known}", flush=True)
            server.serve(listening, host, known, control, key, page, tls)
    except OSError as error:
        fail(str(error))
