"""Adyen's SDK over the shared aiohttp session: the same services, awaited.

The SDK's services only build a URL and call ``client.call_adyen_api``; its own transport is synchronous and opens a
connection per call. Nothing is retried here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
from Adyen import AdyenClient
from Adyen import settings as sdk_settings
from Adyen.services.checkout.payment_links_api import PaymentLinksApi

from adapters.adyen.wire import Answer
from adapters.base import OutcomeUnknown, RailError, RailMisconfigured, RailUnavailable
from adapters.kit.http import ANSWER_SECONDS, call_timeout, from_status, from_transport, redact, retry_after

ANSWER_BYTES_MAX: Final = 1_000_000
SDK_HOST: Final = "https://checkout-test.adyen.com"
REPORT_HOST: Final = "https://ca-test.adyen.com"
"""Of the Customer Area: reports and the disputes API."""
REPORT_BYTES_MAX: Final = 100_000_000
IN_PROGRESS: Final = "704"
"""A request with this Idempotency-Key is processed or in progress.
Source: https://docs.adyen.com/development-resources/api-idempotency."""


class Refused(RailMisconfigured):
    """Adyen looked at the request and will not have it: ``status`` 400, 404 or 422."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class AsyncAdyenClient(AdyenClient):  # type: ignore[misc]  # the SDK has no types, so its class is Any
    """The SDK's client with ``call_adyen_api`` awaitable."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        *,
        api_key: str,
        live: bool,
        base_url: str | None,
        live_endpoint_prefix: str | None,
        answer_seconds_max: float = ANSWER_SECONDS,
    ) -> None:
        super().__init__(
            xapikey=api_key, platform="live" if live else "test", live_endpoint_prefix=live_endpoint_prefix
        )
        self._http = http
        self._timeout = call_timeout(answer_seconds_max)
        self._base_url = base_url.rstrip("/") if base_url is not None else None

    def _determine_api_url(self, platform: str, endpoint: str) -> str:
        if self._base_url is not None:
            return endpoint.replace(SDK_HOST, self._base_url, 1).replace(REPORT_HOST, self._base_url, 1)
        url: str = super()._determine_api_url(platform, endpoint)
        return url

    async def call_adyen_api(
        self,
        request_data: Mapping[str, Any] | None,
        service: str,
        method: str,
        endpoint: str,
        idempotency_key: str | None = None,
        *,
        reading: bool = False,
    ) -> Answer:
        """Send one request; ``reading``: a POST that changes nothing. Raises RailUnavailable, OutcomeUnknown, RailMisconfigured, Refused."""
        headers = {
            "x-api-key": str(self.xapikey),
            "accept": "application/json",
            self.APPLICATION_INFO_HEADER_NAME: sdk_settings.LIB_NAME,
            self.APPLICATION_VERSION_HEADER_NAME: sdk_settings.LIB_VERSION,
        }
        if idempotency_key is not None:
            headers[self.IDEMPOTENCY_HEADER_NAME] = idempotency_key
        url = self._determine_api_url(self.platform, endpoint)
        doing, reading = f"adyen {service} {method}", reading or method == "GET"
        try:
            async with self._http.request(
                method, url, json=request_data, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                body = await _body(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise from_transport(error, doing=doing, reading=reading) from error
        message = _json(body)
        if 200 <= response.status < 300 and message is not None:
            return Answer(message, _answered_at(response))
        raise _error(doing, response, message or {}, reading=reading, secret=str(self.xapikey))

    async def download(self, path: str) -> str | None:
        """Read one report; None where there is none yet (404). Raises RailUnavailable, RailMisconfigured."""
        url = self._determine_api_url(self.platform, REPORT_HOST + path)
        headers = {"x-api-key": str(self.xapikey), "accept": "text/csv"}
        try:
            async with self._http.get(url, headers=headers, timeout=self._timeout, allow_redirects=False) as response:
                if response.status == 404:
                    return None
                body = await _body(response, REPORT_BYTES_MAX)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise from_transport(error, doing="adyen report", reading=True) from error
        if response.status != 200:
            raise _error("adyen report", response, _json(body) or {}, reading=True, secret=str(self.xapikey))
        try:
            return body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise RailMisconfigured("adyen report: not UTF-8") from None


def payment_links(client: AsyncAdyenClient) -> PaymentLinksApi:
    """Return the SDK's payment link service; its methods return an awaitable Answer."""
    return PaymentLinksApi(client=client)


async def _body(response: aiohttp.ClientResponse, bytes_max: int = ANSWER_BYTES_MAX) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        body += chunk
        if len(body) > bytes_max:
            raise aiohttp.ClientPayloadError(f"answer is longer than {bytes_max} bytes")
    return bytes(body)


def _json(body: bytes) -> Mapping[str, Any] | None:
    try:
        message = json.loads(body)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _error(
    doing: str, response: aiohttp.ClientResponse, said: Mapping[str, Any], *, reading: bool, secret: str
) -> RailError:
    """Turn an answer that is no success into the port's words.

    Source: https://docs.adyen.com/development-resources/response-handling and .../error-codes.
    """
    status, code = response.status, str(said.get("errorCode", ""))
    words = redact(f"{doing}: {status} {code} {said.get('message', '')}".rstrip()[:300], [secret])
    rest = response.headers.get("Retry-After")
    if status in {409, 422} and code == IN_PROGRESS:
        # an earlier request with this key may have acted: not "nothing happened", whatever transient-error says
        return RailUnavailable(words) if reading else OutcomeUnknown(words)
    if response.headers.get("transient-error", "").lower() == "true":
        return RailUnavailable(
            words, retry_after(rest)
        )  # Adyen: "a temporary error that has no side effects and can be retried"
    if status in {401, 403}:
        return RailMisconfigured(f"{words}. Check api_key and merchant_account")
    if status in {400, 404, 422}:
        return Refused(words, status)
    if 200 <= status < 300:
        return RailUnavailable(f"{words} not JSON") if reading else OutcomeUnknown(f"{words} not JSON")
    return from_status(status, doing=words, reading=reading, rest=rest) or RailMisconfigured(words)


def _answered_at(response: aiohttp.ClientResponse) -> datetime:
    """Adyen's clock; ours where it does not say."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)
