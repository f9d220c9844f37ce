"""The file of settings: shown with the origin of each value, changed with its comments kept."""

from __future__ import annotations

import tempfile
from dataclasses import MISSING, Field, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardian.errors import InvalidInput, InvalidSetting, NotFound
from wardian.settings import Settings, variable_of
from wardian.small_file import NoSmallFile, read_small
from wardian.tools.disk import FileLock, disk_errors, write_atomically
from wardian.workspace.workspaces import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tomlkit import TOMLDocument

_TABLES = ("indexes", "channels", "mirrors", "repositories")
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class SettingValue:
    """One setting as it is in effect.

    Attributes:
        value: plain JSON value.
        origin: ``$VARIABLE``, ``FILE: key`` or ``default``.
        variable: the environment variable that sets it; ``""``: none does.
    """

    name: str
    value: Any
    origin: str
    variable: str
    doc: str

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


class ConfigFile:
    """``$WARDIAN_HOME/config.toml``. A change is checked as a whole before it is written, all of it or nothing."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.path = home / "config.toml"

    def show(self, environ: Mapping[str, str]) -> tuple[SettingValue, ...]:
        """Return every setting that is in effect, and where it comes from.

        Args:     environ: the environment of the process.
        Raises:   InvalidSetting: the file or a variable holds a wrong value.
        """
        settings = Settings.load(environ, home=self._home)
        in_file = self._read()
        return tuple(_value(field, settings, environ, in_file, self.path) for field in fields(Settings))

    def set(self, key: str, text: str) -> SettingValue:
        """Set one setting in the file; its comments and order stay.

        Args:
            key: a setting's name; ``indexes.NAME``, ``channels.NAME``, ``repositories.NAME``, ``mirrors.URL`` for one entry of a table.
            text: the value as a person writes it; lists with commas between the items.
        Raises:   InvalidSetting: no such setting, or not a value for it; the file is as it was.
        """
        field, entry = _split(key)
        value = _typed(field, entry, text)

        def change(document: TOMLDocument) -> None:
            if entry is None:
                document[field.name] = value
            else:
                import tomlkit

                document.setdefault(field.name, tomlkit.table())[entry] = value

        return self._change(field, change)

    def unset(self, key: str) -> SettingValue:
        """Remove one setting from the file, so that its default counts again.

        Raises:   NotFound: the file does not set it.
        """
        field, entry = _split(key)

        def change(document: TOMLDocument) -> None:
            table = document if entry is None else document.get(field.name, {})
            name = field.name if entry is None else entry
            if name not in table:
                raise NotFound(f"{self.path} does not set `{key}`", code="setting_not_found")
            del table[name]

        return self._change(field, change)

    def _read(self) -> TOMLDocument:
        import tomlkit
        from tomlkit.exceptions import ParseError

        with disk_errors(self.path):
            try:
                content = read_small(self.path)
            except FileNotFoundError:
                return tomlkit.document()
            except NoSmallFile as error:
                raise InvalidSetting(f"{self.path} cannot be read: {error.strerror}", hint="mend the file by hand") from None
        try:
            return tomlkit.parse(content.decode())
        except (ParseError, UnicodeDecodeError) as error:
            raise InvalidSetting(f"{self.path}: {error}", hint="mend the file by hand") from None

    def _change(self, field: Field[Any], change: Callable[[TOMLDocument], None]) -> SettingValue:
        import tomlkit

        with disk_errors(self._home):
            self._home.mkdir(parents=True, exist_ok=True)
        with FileLock(self._home / ".config.lock"):
            document = self._read()
            change(document)
            content = tomlkit.dumps(document).encode()
            settings = self._checked(content)
            write_atomically(self.path, content)
        return _value(field, settings, {}, document, self.path)

    def _checked(self, content: bytes) -> Settings:
        """What the file would mean: read by the very code that every process reads it with."""
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "config.toml").write_bytes(content)
            try:
                return Settings.load({}, home=Path(directory))
            except InvalidSetting as error:
                raise InvalidSetting(error.message.replace(directory, str(self._home)), hint=error.hint) from None


def _value(
    field: Field[Any], settings: Settings, environ: Mapping[str, str], in_file: Mapping[str, Any], path: Path
) -> SettingValue:
    if variable := variable_of(field.name, environ):
        origin = f"${variable}"
    else:
        origin = f"{path}: {field.name}" if field.name in in_file else "default"
    value = getattr(settings, field.name)
    if field.name in _TABLES:
        value = dict(value)
    elif isinstance(value, tuple):
        value = list(value)
    elif isinstance(value, Path):
        value = str(value)
    return SettingValue(field.name, value, origin, field.metadata.get("variable", ""), field.metadata.get("doc", ""))


def _split(key: str) -> tuple[Field[Any], str | None]:
    name, dot, entry = key.partition(".")
    known = {field.name: field for field in fields(Settings)}
    if name not in known:
        from difflib import get_close_matches

        close = get_close_matches(name, known, n=1)
        raise InvalidSetting(f"there is no setting `{name[:80]}`",
                             hint=f"did you mean `{close[0]}`?" if close else f"there are: {', '.join(known)}")  # fmt: skip
    if name == "home":
        raise InvalidSetting("`home` is where this file itself lies", hint="set the variable WARDIAN_HOME")
    if name in _TABLES and not entry:
        raise InvalidSetting(f"`{name}` is a table", hint=f"set one entry: `wardian config set {name}.NAME URL`")
    if name not in _TABLES and dot:
        raise InvalidSetting(f"`{name}` is not a table: it has no `{entry}`", hint=f"`wardian config set {name} VALUE`")
    return known[name], entry or None


def _typed(field: Field[Any], entry: str | None, text: str) -> Any:
    if entry is not None:
        return _checked_url(f"{field.name}.{entry}", text)
    default = () if field.default is MISSING else field.default
    if isinstance(default, bool):
        if text.lower() not in _WORDS:
            raise InvalidSetting(f"`{field.name}` is true or false, not `{text[:80]}`")
        return _WORDS[text.lower()]
    if isinstance(default, int | float):
        try:
            return int(text.replace("_", "")) if isinstance(default, int) else float(text)
        except ValueError:
            raise InvalidSetting(f"`{text[:80]}` is not a number, as `{field.name}` is") from None
    if isinstance(default, tuple) and field.default is not MISSING:
        items = [item.strip() for item in text.split(",") if item.strip()]
        return [_checked(field.name, _platform, item) for item in items] if field.name == "lock_platforms" else items
    if not text:
        raise InvalidSetting(f"`{field.name}` has no empty value", hint=f"`wardian config unset {field.name}` removes it")
    return _checked(field.name, check_name, text) if field.name == "workspace" else text


def _checked(key: str, check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except InvalidInput as error:
        raise InvalidSetting(f"{key}: {error.message}", hint=error.hint) from None


def _platform(name: str) -> str:
    from wardian.definition.platform import get_platform

    return get_platform(name).name


def _checked_url(key: str, url: str) -> str:
    from wardian.definition.url_secret import holds_secret

    if "://" not in url or any(character.isspace() for character in url):
        raise InvalidSetting(f"`{key}` is a URL, not `{url[:80]}`")
    if holds_secret(url):
        raise InvalidSetting(f"the URL of `{key}` holds a secret", hint="leave it out, and keep it with `wardian secret set`")
    return url
