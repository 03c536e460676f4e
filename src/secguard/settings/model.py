"""Settings: assembles the sections, and fixes the order of their policies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, TypeAlias, Unpack

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from secguard._keys import REMEDY, Keys, SecretKey, distinct
from secguard.cors import CORSPolicy, CORSRule, CORSSettings
from secguard.csp import CSPPolicy, CSPSettings
from secguard.csrf import CSRFPolicy, CSRFSettings
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.hosts import LOOPBACK, HostsPolicy, HostsSettings
from secguard.https import HttpsPolicy, HttpsSettings
from secguard.ip_access import IPAccessPolicy, IPAccessSettings
from secguard.policy import Context, ContextOptions, Environment, Mode, Policy, Profile, Section
from secguard.policy.section import COMMAS, Several
from secguard.proxies import ProxiesSettings
from secguard.rate_limit import RateLimitPolicy, RateLimitSettings
from secguard.requests import RequestLimitsPolicy, RequestsPolicy, RequestsSettings
from secguard.settings.errors import SettingsError, without_userinfo
from secguard.settings.framing import agreed, contradictions
from secguard.settings.reading import Readable, Reading
from secguard.settings.sources import ENV_FILE, PREFIX, Files, Origin
from secguard.settings.translate import translate

_Make: TypeAlias = Callable[[Any, Context], Policy]

# The one place that says who stands outside whom. Each row is a field of Settings and the policy it configures.
_OUTERMOST_FIRST: Final[tuple[tuple[str, _Make], ...]] = (
    ("headers", HeadersPolicy),
    ("csp", CSPPolicy),
    ("requests", RequestsPolicy),
    ("cors", CORSPolicy),
    ("hosts", HostsPolicy),
    ("https", HttpsPolicy),
    ("ip_access", IPAccessPolicy),
    ("rate_limit", RateLimitPolicy),
    ("csrf", CSRFPolicy),
    ("requests", RequestLimitsPolicy),
)

_DEVELOPMENT: Final = (
    "the environment is development: no HSTS, no redirect to https, and refusals explain themselves; "
    "where others can reach the app, set SECGUARD_ENVIRONMENT=production"
)
_NO_SESSION: Final = "no section opens sessions, so that all would be counted by address: write ip or user"


@dataclass(frozen=True, slots=True)
class _Provenance:
    """Where the values came from. Settings are equal where their values are, whatever their provenance."""

    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False)
    shadowed: Mapping[str, tuple[Origin, ...]] = field(default_factory=dict, compare=False)


class Settings(Readable):
    """Everything that a Guard needs to know: frozen, validated as a whole, with the origin of each value kept.

    A keyword sets a field: a mapping merges with the variables, a Section instance replaces what they say, None
    switches the section off. `_env_file` names the dotenv files (`.env`, which may be missing; None reads none, and of
    several the last is the strongest), `_secrets_dir` the directories whose files are named like variables.

    Raises:
        SettingsError: something is wrong; the message lists every mistake at once.

    Example:
        >>> settings = Settings(profile="strict", headers={"hsts": {"max_age": 86400}})
        >>> settings.headers.hsts
        Hsts(max_age=86400, include_subdomains=True, preload=False)
        >>> settings.origins["headers.hsts.include_subdomains"]
        Origin(kind='profile', name='strict', file=None)
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, env_prefix=PREFIX, env_nested_delimiter="__"
    )
    in_development: ClassVar[Mapping[str, Any]] = MappingProxyType({"hosts": {"allowed": LOOPBACK}})

    environment: Environment = "production"
    """`development` is for the developer's own machine: plain http on loopback names works, and refusals say why."""
    profile: Profile = "web"
    """`web` suits a site that exists, `strict` a new one, `api` what speaks JSON only."""
    mode: Mode = "enforce"
    """`report` lets through what any section would refuse, and only tells of it."""
    secret_keys: Annotated[Several[SecretKey], COMMAS, AfterValidator(distinct)] = ()
    """What keys are derived from: the first signs, and all verify. At least 32 characters each, drawn by lot."""
    headers: HeadersSettings | None = Field(default_factory=HeadersSettings)
    """The response headers."""
    csp: CSPSettings | None = Field(default_factory=CSPSettings)
    """Content-Security-Policy."""
    requests: RequestsSettings | None = Field(default_factory=RequestsSettings)
    """What a request must be like to be looked at, and what it may take."""
    cors: CORSSettings | None = None
    """Which pages of other origins may read what the app answers: none, unless set."""
    hosts: HostsSettings | None = None
    """Which hosts the app answers to: any, unless set. In development, loopback names and `testserver`."""
    https: HttpsSettings | None = Field(default_factory=HttpsSettings)
    """When plain http is redirected."""
    ip_access: IPAccessSettings | None = None
    """Which addresses may come in, everywhere and by path: all, unless set."""
    rate_limit: RateLimitSettings | None = None
    """How many requests are let in, for whom: as many as come, unless set."""
    proxies: ProxiesSettings | None = Field(default_factory=ProxiesSettings)
    """Whose word about the client is taken: nobody's, unless set."""
    csrf: CSRFSettings | None = Field(default_factory=CSRFSettings)
    """Which requests from elsewhere may change something."""

    _provenance: _Provenance = PrivateAttr(default_factory=_Provenance)

    def __init__(self, *, _env_file: Files | None = ENV_FILE, _secrets_dir: Files | None = None, **values: Any) -> None:
        reading = Reading(type(self), values, _env_file, _secrets_dir)
        errors = reading.errors
        try:
            super().__init__(_env_file=None, **reading.tree())
        except ValidationError as error:
            errors = [*errors, *error.errors()]
        # Outside the handler: pydantic's own message, which shows secrets, must not travel along as the context.
        problems = [*reading.problems, *translate(errors, reading)]
        if problems:
            raise SettingsError(problems)
        self._provenance = _Provenance(reading.origins(self), reading.shadowed)
        if problems := translate(self._contradictions(), reading):
            raise SettingsError(problems)

    def _contradictions(self) -> Iterator[ErrorDetails]:
        """Yield an error for each place where two sections, each of them right, do not go together."""
        if self.headers and self.csp:
            yield from contradictions(self.headers, self.csp, explicit=self._says("headers.frame_options"))
        if self.csrf and self.csrf.token and not self.secret_keys:
            message = f"a token is signed, and there is no key: in SECGUARD_SECRET_KEYS, {REMEDY}"
            yield ErrorDetails(type="csrf-token-keys", loc=("csrf", "token"), msg=message, input=self.csrf.token)
        if self.rate_limit and "session" not in type(self).model_fields:
            for place, key in self.rate_limit.counted_by():
                if key == "session":
                    loc = ("rate_limit", *place)
                    yield ErrorDetails(type="rate-limit-session", loc=loc, msg=_NO_SESSION, input=key)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the tree that was read already, and nothing beside it."""
        return (init_settings,)

    @property
    def origins(self) -> Mapping[str, Origin]:
        """Where each value came from, by its dotted name.

        Example:
            >>> Settings(mode="report").origins["mode"]
            Origin(kind='code', name='mode', file=None)
        """
        return MappingProxyType(self._provenance.origins)

    @property
    def shadowed(self) -> Mapping[str, tuple[Origin, ...]]:
        """The variables that have no effect, because code sets or switches off the same, by the field's dotted name.

        Example:
            >>> Settings(hosts=None).shadowed  # with SECGUARD_HOSTS__ALLOWED set
            mappingproxy({'hosts': (Origin(kind='environment', name='SECGUARD_HOSTS__ALLOWED', file=None),)})
        """
        return MappingProxyType(self._provenance.shadowed)

    def context(self, **options: Unpack[ContextOptions]) -> Context:
        """Return the Context that the policies share; keywords replace what these settings say.

        Example:
            >>> Settings().context(sinks=(events.append,)).environment
            'production'
        """
        options.setdefault("environment", self.environment)
        options.setdefault("profile", self.profile)
        options.setdefault("mode", self.mode)
        options.setdefault("keys", Keys(secret.get_secret_value() for secret in self.secret_keys))
        context = Context(**options)

        def notice(code: str, reason: str, **detail: object) -> None:
            context.notice(code, reason, None, **detail)

        if self.proxies and "resolver" not in options:
            return replace(context, resolver=self.proxies.resolver(notice))
        return context

    def policies(self, **options: Unpack[ContextOptions]) -> tuple[Policy, ...]:
        """Return the policies of the sections that are on, outermost first; keywords are those of `context`.

        In development the Event `settings.development` tells so, once for each call.

        Example:
            >>> [type(policy).__name__ for policy in Settings().policies()]
            ['HeadersPolicy', 'CSPPolicy', 'RequestsPolicy', 'HttpsPolicy', 'CSRFPolicy', 'RequestLimitsPolicy']
        """
        context = self.context(**options)
        if context.development:
            context.notice("settings.development", _DEVELOPMENT)
        sections = {name: getattr(self, name) for name, _ in _OUTERMOST_FIRST}
        sections |= self._framing(context) | self._embedding()
        return tuple(make(sections[name], context) for name, make in _OUTERMOST_FIRST if sections[name] is not None)

    def _framing(self, context: Context) -> dict[str, Section]:
        """Return `headers` and `csp` of one mind about who may frame a page."""
        if self.headers is None or self.csp is None:
            return {}
        ancestors = CSPPolicy(self.csp, context).policies(()).enforced.frame_ancestors
        explicit = self._says("headers.frame_options")
        headers, csp = agreed(self.headers, self.csp, ancestors, explicit=explicit)
        return {"headers": headers, "csp": csp}

    def _embedding(self) -> dict[str, Section]:
        """Return `cors` with no word about who may embed a response where `headers` was told."""
        if self.headers is None or self.cors is None:
            return {}
        name = "cross_origin_resource_policy"
        told = [rule.paths for rule in self.headers.rules if name in rule.model_fields_set]
        rules = (*self.cors.rules, *(CORSRule(paths=paths, embeddable=False) for paths in told))
        embeddable = self.cors.embeddable and not self._says(f"headers.{name}")
        return {"cors": self.cors.model_copy(update={"rules": rules, "embeddable": embeddable})}

    def _says(self, name: str) -> bool:
        """Whether somebody set this field, and not a profile or nobody."""
        return name in self.origins and self.origins[name].kind not in {"default", "profile"}

    def __repr__(self) -> str:
        return without_userinfo(super().__repr__())

    __str__ = __repr__
