"""A check within seconds that a Weights & Biases server accepts this user."""

import json
import netrc
import os
from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import ProxyHandler, Request, build_opener

PATIENCE = 4.0  # seconds in all: names, proxies, and servers that accept a connection and stay silent
QUESTION = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class WandbServer:
    """A W&B server and the user's credentials.

    Args:
        key: of the user; None where none is known.
        token: whether a machine's identity stands in for a key; the server alone can judge it.
        proxies: by scheme, where other than the environment says.
    """

    url: str
    key: str | None = None
    token: bool = False
    proxies: tuple[tuple[str, str], ...] = ()

    def refusal(self, patience: float = PATIENCE) -> str | None:
        """Return why nothing can be sent now; None where it can."""
        if not (self.key or self.token):
            return f"no key for {self.url} is known (`wandb login`, or WANDB_API_KEY)"
        found: list[str | None] = []
        asking = Thread(target=lambda: found.append(self.query(patience)), daemon=True)
        asking.start()
        asking.join(patience)  # a timeout of sockets bounds neither a name server nor an answer that drips
        return found[0] if found else self.silent(patience)

    def silent(self, patience: float) -> str:
        return f"{self.url} does not answer within {patience:g} s"

    def query(self, patience: float) -> str | None:
        """Ask the server who we are, as the tracker itself does first of all."""
        request = Request(f"{self.url.rstrip('/')}/graphql", QUESTION, {"Content-Type": "application/json"})
        if self.key:
            request.add_header("Authorization", f"Basic {b64encode(f'api:{self.key}'.encode()).decode()}")
        direct = urlparse(self.url).hostname in LOOPBACK
        proxies = {} if direct else dict(self.proxies) or None
        try:
            with build_opener(ProxyHandler(proxies)).open(request, timeout=patience) as answer:
                viewer = json.load(answer)["data"]["viewer"]
        except HTTPError as error:
            return f"{self.url} refuses the key" if error.code in (401, 403) else f"{self.url} answers {error.code}"
        except (URLError, OSError) as error:
            why = getattr(error, "reason", error)
            late = isinstance(why, TimeoutError)  # the socket's limit, where it is noticed before that of the thread
            return self.silent(patience) if late else f"{self.url} cannot be reached ({why})"
        except (ValueError, LookupError, TypeError, RecursionError, HTTPException):
            return f"{self.url} answers, but is no server of W&B"
        return None if viewer or not self.key else f"{self.url} refuses the key"


def server(settings: Any) -> WandbServer:
    """The server that W&B's settings name, with the key from there or from the user's netrc."""
    proxies = (("http", settings.http_proxy), ("https", settings.https_proxy))
    return WandbServer(
        settings.base_url,
        settings.api_key or saved_key(urlparse(settings.base_url).hostname or ""),
        bool(settings.identity_token_file),
        tuple((scheme, proxy) for scheme, proxy in proxies if proxy),
    )


def saved_key(host: str) -> str | None:
    """The key that `wandb login` left in ~/.netrc, or in the file that NETRC names."""
    file = os.environ.get("NETRC")
    try:
        found = netrc.netrc(str(Path(file).expanduser()) if file else None).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return found[2] if found else None
