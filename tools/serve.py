"""Open the built book on localhost: `make serve`. Ctrl+C ends it."""

import functools
import http.server
import webbrowser
from pathlib import Path

SITE = Path(__file__).parents[1] / "_build" / "html"


def server(first=8000, last=8020):
    """A server of the site on the first port that is free."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=SITE)
    for port in range(first, last):
        try:
            return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError:
            continue
    raise SystemExit(f"No port between {first} and {last - 1} is free.")


if __name__ == "__main__":
    with server() as site:
        address = f"http://localhost:{site.server_port}/"
        print(f"The book is at {address} (Ctrl+C ends it)", flush=True)
        webbrowser.open(address)
        try:
            site.serve_forever()
        except KeyboardInterrupt:
            pass
