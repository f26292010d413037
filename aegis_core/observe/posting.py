"""Posting to a receiver: signed as Standard Webhooks describes (standardwebhooks.com), and never elsewhere."""

from __future__ import annotations

import hmac
import time
from base64 import b64encode

import httpx

from aegis_core.observe.receivers import Receiver
from aegis_core.observe.targets import resolve
from aegis_core.protocol.errors import ChannelError

_AGAIN = {408, 425, 429}
_MOST_READ = 16_384
"""Bytes of an answer."""
_LONGEST_WAIT = 3_600
"""Seconds that a receiver may ask us to wait."""


class Poster:
    """Posts to one receiver. What it answers is not read, redirects are not followed, proxies of the environment not
    used."""

    def __init__(self, receiver: Receiver, *, timeout: float) -> None:
        """`timeout`: seconds for each step of a request."""
        self._receiver, self._url = receiver, httpx.URL(receiver.url)
        steps = httpx.Timeout(timeout, connect=timeout / 2)  # so that who cannot be reached is told from who is silent
        self._http = httpx.AsyncClient(timeout=steps, follow_redirects=False, trust_env=False)

    @property
    def host(self) -> str:
        """Its name."""
        return self._url.host

    async def post(self, name: str, content: bytes, media_type: str) -> None:
        """Post one message under an id that is the same however often it is sent.

        Raises:
            ChannelError: it was not taken. `everything`: the receiver is down or overloaded, so others would not be
                taken either; `answered`: it could be connected to.
        """
        host, receiver = self._url.host, self._receiver
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        address = await resolve(
            host, port, allow_private=receiver.allow_private, private_variable=receiver.private_variable
        )
        # The certificate is still judged by the name; only the way to it is fixed.
        headers = {"Content-Type": media_type, **signed(receiver.key, name, content)}
        headers["Host"] = self._url.netloc.decode("ascii")
        request = self._http.build_request(
            "POST",
            self._url.copy_with(host=address),
            content=content,
            headers=headers,
            extensions={"sni_hostname": host},
        )
        try:
            answer = await self._http.send(request, stream=True)
            try:
                await _drain(answer)
            finally:
                await answer.aclose()
        except httpx.HTTPError as error:
            answered = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise ChannelError(f"{host} cannot be reached ({type(error).__name__})", answered=answered) from None
        if answer.is_success:
            return
        if answer.is_redirect:
            raise ChannelError(f"{host} answers with a redirect, which is not followed", answered=True)
        wait = answer.headers.get("Retry-After", "")
        everything = answer.status_code >= 500 or answer.status_code in _AGAIN
        raise ChannelError(
            f"{host} answers {answer.status_code}",
            retry_after=min(float(wait), _LONGEST_WAIT) if wait.isdecimal() else 0,
            everything=everything,
            answered=True,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def _drain(answer: httpx.Response) -> None:
    """Read a short body to its end, so that the connection can be used again; a long one is left."""
    read = 0
    async for part in answer.aiter_raw():
        read += len(part)
        if read > _MOST_READ:
            return


def signed(key: bytes, name: str, content: bytes, at: int | None = None) -> dict[str, str]:
    """The headers that prove who sent a message and when: HMAC-SHA256 over ``id.timestamp.body``."""
    stamp = str(int(time.time()) if at is None else at)
    digest = hmac.digest(key, f"{name}.{stamp}.".encode() + content, "sha256")
    return {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": "v1," + b64encode(digest).decode()}
