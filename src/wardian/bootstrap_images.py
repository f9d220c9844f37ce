"""The parts of the house that images need, each made when it is first used. With ``bootstrap``, the only place that names adapters."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from wardian.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wardian.events import Event, Listener
    from wardian.image.base_python import BasePythons
    from wardian.image.build_layers import Workshop
    from wardian.image.builder import ImageBuilder
    from wardian.image.compression import Compression
    from wardian.image.engine import ContainerEngine, Login
    from wardian.image.key import ImageScheme
    from wardian.image.layer_cache import LayerCache
    from wardian.image.layout import LayoutImageStore
    from wardian.image.lock_store import ImageLockStore
    from wardian.image.places import ImagePlaces
    from wardian.image.reference import EnvironmentImage, ImageFile, ImageReference
    from wardian.image.registry import RegistryImageStore
    from wardian.image.registry_auth import RegistryLogin
    from wardian.image.store import ImageStore
    from wardian.lock.store import SharedLocks
    from wardian.settings import Settings
    from wardian.tools.http import Credentials
    from wardian.workspace.database import Database
    from wardian.workspace.images import Images


class Around(Protocol):
    """What images take from the other parts."""

    settings: Settings
    environ: Mapping[str, str]
    listener: Listener

    @property
    def cache(self) -> Path:
        """The machine's cache directory."""
        ...

    @property
    def database(self) -> Database:
        """The workspace's records."""
        ...

    @property
    def ca_bundle(self) -> str | None:
        """The file of certificates that the caller's environment names, or None."""
        ...

    def credentials(self, url: str) -> Credentials | None:
        """Return the stored login for ``url``, or None."""
        ...


class ImageParts:
    """What images are made, kept and found with, for one workspace. Nothing is contacted before it is asked for."""

    def __init__(self, parts: Around):
        self._parts = parts

    @property
    def cache(self) -> Path:
        """The machine's cache directory."""
        return self._parts.cache

    @cached_property
    def records(self) -> Images:
        """Which version has which base and images."""
        from wardian.workspace.images import Images

        return Images(self._parts.database)

    # -- stores --------------------------------------------------------------------------------------------------------

    @cached_property
    def local(self) -> LayoutImageStore:
        """The registry that is embedded in this machine: one OCI layout."""
        from wardian.image.layout import LayoutImageStore

        return LayoutImageStore(self.cache / "images", link_from=[self.cache / "layers"])

    @cached_property
    def workspace_registry(self) -> ImageStore | None:
        """The configured registry, or None: this machine's alone."""
        return self._configured(self._parts.settings.registry)

    @cached_property
    def global_registry(self) -> ImageStore | None:
        """The configured registry that is only read, or None."""
        return self._configured(self._parts.settings.global_registry)

    @property
    def home(self) -> ImageStore:
        """Where this workspace's images go: its registry, else this machine's."""
        return self.workspace_registry or self.local

    def _configured(self, text: str) -> ImageStore | None:
        return self.named(text) if text else None

    def named(self, text: str) -> ImageStore:
        """Return the registry that ``text`` names: ``HOST[:PORT]/REPOSITORY``, or ``oci:DIRECTORY``.

        Raises:   InvalidReference: code ``invalid_registry``, or what is wrong with the name.
        """
        from wardian.image_name import parse_registry

        return self.store(parse_registry(text))

    def store_named(self, name: str) -> ImageStore | None:
        """Return the store that a record names: this machine's, a configured one, or a repository of any registry; None: it is gone."""
        from pathlib import Path

        from wardian.image.layout import LayoutImageStore
        from wardian.image.reference import parse_image_reference

        for store in (self.local, self.workspace_registry, self.global_registry):
            if store is not None and store.name == name:
                return store
        if name.startswith("/"):
            place = Path(os.fsdecode(name.encode()))
            return LayoutImageStore(place) if place.is_dir() else None
        return self.repository(parse_image_reference(name))

    def locks_in(self, store: ImageStore) -> ImageLockStore:
        """Return the locks that a store holds."""
        from wardian.image.lock_store import ImageLockStore

        return ImageLockStore(store, wheels=self.cache / "registry" / "wheels", locks=self.tag_locks)

    @property
    def tag_locks(self) -> Path:
        """A directory for the locks between this machine's processes that tag in registries."""
        return self.cache / "registry" / "locks"

    @cached_property
    def shared_locks(self) -> list[SharedLocks]:
        """The configured registries as places of locks; offline, only those that are directories."""
        from wardian.lock.store import SharedLocks

        settings, found = self._parts.settings, []
        places = (settings.registry, "workspace registry", True), (settings.global_registry, "global registry", False)
        for text, origin, takes in places:
            if text and not (settings.offline and not text.startswith("oci:")):
                store = self.named(text)
                found.append(SharedLocks(self.locks_in(store), origin, store.name, takes))
        return found

    def store(self, reference: ImageReference | ImageFile | EnvironmentImage) -> ImageStore:
        """Return the place that a reference points into.

        Raises:   InvalidInput: code ``not_a_store``: it is the image of an environment, or an archive, which is read alone.
        """
        from wardian.image.layout import LayoutImageStore
        from wardian.image.reference import ImageFile, ImageReference

        if isinstance(reference, ImageReference):
            return self.repository(reference)
        if isinstance(reference, ImageFile) and reference.kind == "oci":
            from pathlib import Path

            return LayoutImageStore(Path(os.fsdecode(reference.path.encode("utf-8", "surrogateescape"))))
        raise InvalidInput(f"`{reference}` is no place that holds several images", code="not_a_store")

    def repository(self, reference: ImageReference) -> ImageStore:
        """Return a repository of a registry; those of one host share connections and tokens."""
        return self.places.registry(reference)

    @cached_property
    def places(self) -> ImagePlaces:
        """From what people write to stores, and copies between them."""
        from wardian.image.places import ImagePlaces
        from wardian.tools.registry_http import RegistryHttp

        settings = self._parts.settings
        http = RegistryHttp(timeout_s=settings.timeout_s, ca_bundle=self._parts.ca_bundle, offline=settings.offline)
        return ImagePlaces(http=http, login=self._login, insecure=settings.insecure_registries, scratch=self.scratch,
                           listener=self._hear)  # fmt: skip

    @cached_property
    def _login(self) -> Callable[[str, str], RegistryLogin | None]:
        from wardian.image.docker_config import EngineLogins, registry_logins

        def hear(event: Event) -> None:
            self._parts.listener(event)  # the one of that moment

        engines = EngineLogins(self._parts.environ, listener=hear)
        return registry_logins(self._parts.credentials, engines)

    def _hear(self, event: Event) -> None:
        self._parts.listener(event)  # whoever that is by then

    @property
    def scratch(self) -> Path:
        """A directory for what is there for a moment only."""
        return self.cache / "staging"

    # -- engines -------------------------------------------------------------------------------------------------------

    def engine(self, name: str) -> ContainerEngine:
        """Return the container engine called ``name``; nothing is called yet.

        Raises:   NotFound: code ``engine_not_found``.
        """
        from wardian.image.engine_list import engine_named

        return engine_named(name, self._parts.environ, self.cache / "engines")

    def working_engine(self) -> str:
        """Return the name of the first container engine that works here.

        Raises:   EngineUnavailable: code ``no_engine``: none does; the message says of each why not.
        """
        from wardian.image.engine_list import first_engine

        return first_engine(self._parts.environ, self.cache / "engines")[0].name

    def engine_login(self, store: RegistryImageStore) -> Login | None:
        """Return the stored login for a repository, for an engine that is to pull from it; its own logins it knows itself."""
        from wardian.image.docker_config import registry_logins

        return _engine_login(registry_logins(self._parts.credentials)(store.client.host, store.repository))

    @staticmethod
    def is_plain(store: RegistryImageStore) -> bool:
        """Return whether a registry is spoken to over plain HTTP."""
        return store.client.url.startswith("http://")

    @cached_property
    def builders(self) -> Sequence[ImageBuilder]:
        """What may carry out Docker steps here, in order of preference; nothing is called yet."""
        from wardian.image.engine_list import image_builders

        return image_builders(self._parts.environ, self.cache / "engines")

    def registry_login(self, registry: str, repository: str) -> Login | None:
        """Return user and password for a repository, from stored secrets or what docker and podman keep; None: there are none."""
        return _engine_login(self._login(registry, repository))

    def pod_login(self, store: RegistryImageStore) -> RegistryLogin | None:
        """Return what those log in with at a repository who bring files there for this user; None: nothing is known."""
        return self._login(store.client.host, store.repository)

    # -- making --------------------------------------------------------------------------------------------------------

    @cached_property
    def compression(self) -> Compression:
        """How layers are compressed."""
        from wardian.image.compression import Compression

        return Compression(self._parts.settings.image_compression)

    @cached_property
    def scheme(self) -> ImageScheme:
        """How images are written."""
        from wardian.image.key import ImageScheme

        settings = self._parts.settings
        return ImageScheme(self.compression.compressor, settings.image_byte_code, settings.image_epoch)

    @cached_property
    def layers(self) -> LayerCache:
        """Layers that were made before."""
        from wardian.image.layer_cache import LayerCache

        return LayerCache(
            self.cache / "layers", self.local, compression=self.compression, epoch=self._parts.settings.image_epoch
        )

    @cached_property
    def workshop(self) -> Workshop:
        """What layers are made with."""
        from wardian.image.build_layers import Workshop

        jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return Workshop(self.layers, self.scratch, self.cache / "conda-packages", jobs)

    def empty_workshop(self, place: Path) -> Workshop:
        """Return what layers are made with in the empty directory ``place``: as if none had been made before."""
        from wardian.image.build_layers import Workshop
        from wardian.image.layer_cache import LayerCache
        from wardian.image.layout import LayoutImageStore

        root, epoch = place / "layers", self._parts.settings.image_epoch
        layers = LayerCache(
            root, LayoutImageStore(place / "images", link_from=[root]), compression=self.compression, epoch=epoch
        )
        return Workshop(layers, place / "staging", place / "conda-packages", self.workshop.jobs)

    @cached_property
    def base_pythons(self) -> BasePythons:
        """Interpreters of base images."""
        from wardian.image.base_python import BasePythons

        return BasePythons(self.cache / "base-pythons")


def _engine_login(found: RegistryLogin | None) -> Login | None:
    """Return a login as engines take it: they know no bearer tokens."""
    from wardian.image.engine import Login

    return Login(found.user, found.password) if found is not None and found.user else None


def node_store(name: str, environ: Mapping[str, str], *, login: str = "", is_plain: bool = False) -> RegistryImageStore:
    """Return a repository as a node reaches it, which has no settings.

    Args:     name: ``HOST[:PORT]/REPOSITORY``.  login: a file of logins, as docker keeps them; empty: none is needed.
    """
    from wardian.image.docker_config import EngineLogins, registry_logins
    from wardian.image.registry import RegistryImageStore
    from wardian.image.registry_client import RegistryClient
    from wardian.tools.registry_http import RegistryHttp

    host, _, repository = name.partition("/")
    ca_bundle = next((environ[one] for one in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE") if environ.get(one)), None)
    logins = EngineLogins({"REGISTRY_AUTH_FILE": login} if login else {"REGISTRY_AUTH_FILE": os.devnull})
    client = RegistryClient(
        host,
        http=RegistryHttp(ca_bundle=ca_bundle),
        login=registry_logins(lambda _: None, logins),
        insecure=[host] if is_plain else (),
    )
    return RegistryImageStore(client, repository)
