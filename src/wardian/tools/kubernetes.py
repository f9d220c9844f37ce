"""The official client of Kubernetes, which knows how to reach a cluster and who one is there; the only module that names it.

What is asked and answered is plain JSON: the client's own classes for objects differ from release to release.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from wardian.errors import Denied, InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 30.0
_CONNECT_S = 10.0
_LARGEST_BYTES = 256 << 20
_PIECE_BYTES = 1 << 16
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_HINT = "`wardian target check` shows whether the cluster answers; `kubectl cluster-info` tells the same"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered: the HTTP status, and its JSON; of an error, a ``Status`` object with ``reason`` and ``message``."""

    status: int
    document: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it is no error."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def reason(self) -> str:
        """The reason of an error in one word, such as ``AlreadyExists``."""
        return str(self.document.get("reason", ""))

    @property
    def message(self) -> str:
        """What the server says of an error."""
        return str(self.document.get("message", "") or self.reason or f"HTTP {self.status}")[:1000]


class LogStream:
    """A pod's log from its beginning, as an open answer."""

    def __init__(self, reply: Any, host: str, faults: tuple[type[Exception], ...]) -> None:
        self._reply, self._host, self._faults = reply, host, faults

    def read(self, limit: int) -> bytes:
        """Return at most ``limit`` bytes; nothing: this is all.

        Raises:   Unavailable: the connection broke.
        """
        try:
            piece: bytes = self._reply.read(limit)
            return piece
        except self._faults as error:
            raise Unavailable(f"the log at {self._host} broke off: {error}", code="engine_unavailable", hint=_HINT) from error

    def close(self) -> None:
        """Ask for no more."""
        self._reply.close()
        self._reply.release_conn()


class KubernetesApi:
    """The API server of one cluster, as one user. Safe between threads; connects when it is first asked.

    Args:     kubeconfig, context: empty: as kubectl finds them, or, in a pod, its own cluster.  timeout_s: for each answer.
    Raises:   InvalidInput: ``kubernetes_missing``: the client is not installed; ``bad_kubeconfig``.
    """

    def __init__(
        self, kubeconfig: str = "", context: str = "", *, environ: Mapping[str, str], timeout_s: float = _TIMEOUT_S
    ) -> None:
        try:
            from kubernetes import client as client_
            from kubernetes import config as config_
        except ImportError as error:
            raise InvalidInput(f"targets of kind kubernetes need the package `{error.name or 'kubernetes'}`, which is not installed", code="kubernetes_missing",
                               hint="pip install 'wardian[kubernetes]'") from error  # fmt: skip
        client: Any = client_  # its releases differ in what they say of types
        config: Any = config_
        self._timeout_s = timeout_s
        self._configuration: Any = client.Configuration()
        self._configuration.retries = False
        self.namespace = "default"
        home = environ.get("HOME", "")
        found = kubeconfig or environ.get("KUBECONFIG", "") or (f"{home}/.kube/config" if home else "")
        files = [re.sub(r"^~(?=/)", lambda _: home, one) for one in found.split(os.pathsep) if one]
        try:
            if not kubeconfig and not any(Path(one).exists() for one in files) and environ.get("KUBERNETES_SERVICE_HOST"):
                config.load_incluster_config(client_configuration=self._configuration)
                self.namespace = _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default"
                self.described = "the cluster of this pod"
            else:
                if missing := [one for one in files if not Path(one).exists()]:
                    raise InvalidInput(f"there is no kubeconfig at {missing[0]}", code="bad_kubeconfig",
                                       hint="`--option kubeconfig=FILE`, or $KUBECONFIG; your cluster's documentation says where to get one")  # fmt: skip
                name = os.pathsep.join(files)
                config.load_kube_config(config_file=name, context=context or None, client_configuration=self._configuration)
                contexts, current = config.list_kube_config_contexts(config_file=name)
                chosen = next((one for one in contexts if one["name"] == context), current) if context else current
                self.namespace = chosen["context"].get("namespace") or "default"
                self.described = f"{chosen['name']} at {self._configuration.host}"
        except InvalidInput:
            raise
        except Exception as error:  # whatever the client makes of a file that is none
            words = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise InvalidInput(f"the kubeconfig {':'.join(files)} cannot be used: {words}", code="bad_kubeconfig",
                               hint="`kubectl config view` and `kubectl config get-contexts` show what is in it") from error  # fmt: skip
        self.host = str(self._configuration.host)
        rest = client.rest
        self._faults: tuple[type[Exception], ...] = (rest.urllib3.exceptions.HTTPError, OSError)
        self._timeout = rest.urllib3.Timeout(connect=min(_CONNECT_S, timeout_s), read=timeout_s)
        self._pool = client.ApiClient(self._configuration).rest_client.pool_manager

    def ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, kind: str = "application/json"
    ) -> Answer:
        """Return the server's answer, an error's too.

        Raises:   Unavailable: there is none: no connection, no certificate that fits, no answer in time. It may have been carried out.
                  Denied: ``engine_denied``: the server does not know who asks (401).
        """
        reply = self._send(method, path, query, body, kind)
        try:
            content = reply.read(_LARGEST_BYTES)
            if reply.read(1):
                raise Unavailable(
                    f"{self.host} answers with more than {_LARGEST_BYTES >> 20} MiB", code="engine_unavailable", hint=_HINT
                )
        except self._faults as error:
            raise self._no_answer(error) from error
        finally:
            reply.release_conn()
        return self._answer(int(reply.status), content)

    def log(self, path: str, query: Mapping[str, str]) -> LogStream | Answer:
        """Return the open log; the answer, if it is an error.

        Raises:   as ``ask``.
        """
        reply = self._send("GET", path, query, None, "")
        if int(reply.status) == 200:  # noqa: PLR2004
            return LogStream(reply, self.host, self._faults)
        try:
            content = reply.read(_PIECE_BYTES)
        except self._faults as error:
            raise self._no_answer(error) from error
        finally:
            reply.close()
            reply.release_conn()
        return self._answer(int(reply.status), content)

    def _send(self, method: str, path: str, query: Mapping[str, str] | None, body: Any, kind: str) -> Any:
        headers = {"Accept": "application/json, */*", "User-Agent": "wardian"}
        content = None
        if body is not None:
            headers["Content-Type"] = kind
            content = json.dumps(body).encode()
        try:
            for setting in self._configuration.auth_settings().values():  # tokens that have expired are made anew here
                if setting["in"] == "header" and setting["value"]:
                    headers[setting["key"]] = setting["value"]
        except Exception as error:  # what logs in is a program or a plug-in of the cluster's: it fails in ways of its own
            raise Denied(
                f"logging in to {self.host} failed: {str(error)[:300]}", code="engine_denied", hint=_login_hint()
            ) from error
        url = f"{self.host.rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            return self._pool.request(method, url, body=content, headers=headers, preload_content=False, retries=False,
                                      redirect=False, timeout=self._timeout)  # fmt: skip
        except self._faults as error:
            raise self._no_answer(error) from error

    def _answer(self, status: int, content: bytes) -> Answer:
        try:
            document = json.loads(content) if content else {}
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            if status < 400:  # noqa: PLR2004
                raise Unavailable(f"what answers at {self.host} is no Kubernetes API server: it gives no JSON", code="engine_unavailable",
                                  hint="look at the address in the kubeconfig")  # fmt: skip
            document = {"message": content[:300].decode("utf-8", "replace").strip()}
        answer = Answer(status, document)
        if status == 401:  # noqa: PLR2004
            raise Denied(f"{self.host} does not know who asks: {answer.message}", code="engine_denied", hint=_login_hint())
        return answer

    def _no_answer(self, error: Exception) -> Unavailable:
        words = re.sub(r"<[^>]*>|\w+\(host=[^)]*\):?", "", str(error)).strip(" :,")[:300] or type(error).__name__
        return Unavailable(f"Kubernetes does not answer at {self.host}: {words}", code="engine_unavailable", hint=_HINT)


def _login_hint() -> str:
    return "the token or certificate of the kubeconfig has expired, or is another cluster's: log in again as you do for kubectl"
