"""The three Obyte networks and the constants in which they differ (Obyte, ocore `constants.js`)."""

from __future__ import annotations

from dataclasses import dataclass

from shared.obyte.errors import NetworkError


@dataclass(frozen=True, slots=True)
class Network:
    """One network. A private network is made with `dataclasses.replace`.

    `version` is the version of units and signed packages written now, `versions` all that are still read.
    `version_without_timestamp` ("v1") also marks the typed serialization; together with
    `version_without_key_sizes` ("v2") it marks units in which object keys cost nothing.
    `order_provider_count` is how many order providers (witnesses) a list has, `initial_order_providers` the list that
    the network started from: votes have changed it since, so it is something to compare with, not to rely on.
    """

    name: str
    version: str
    versions: frozenset[str]
    version_without_timestamp: str
    version_without_key_sizes: str
    alt: str
    genesis_unit: str
    order_provider_count: int
    initial_order_providers: tuple[str, ...] = ()

    @property
    def majority(self) -> int:
        """How many order providers settle a question: more than half of them."""
        return self.order_provider_count // 2 + 1

    def hashes_typed(self, version: object) -> bool:
        """Whether a unit of this version is hashed over the typed source string instead of JSON."""
        return version == self.version_without_timestamp

    def counts_keys(self, version: object) -> bool:
        """Whether the size of a unit of this version includes the names of its fields."""
        return version not in (self.version_without_timestamp, self.version_without_key_sizes)


def _network(name: str, suffix: str, alt: str, genesis_unit: str, order_providers: str) -> Network:
    initial = tuple(order_providers.split())
    return Network(
        name=name,
        version=f"4.0{suffix}",
        versions=frozenset(f"{number}{suffix}" for number in ("1.0", "2.0", "3.0", "4.0")),
        version_without_timestamp=f"1.0{suffix}",
        version_without_key_sizes=f"2.0{suffix}",
        alt=alt,
        genesis_unit=genesis_unit,
        order_provider_count=len(initial),
        initial_order_providers=initial,
    )


LIVENET = _network(
    "livenet",
    "",
    "1",
    "oj8yEksX9Ubq7lLc+p6F2uyHUuynugeVq4+ikT67X6E=",
    "2TO6NYBGX3NF5QS24MQLFR7KXYAMCIE5 4GDZSXHEFVFMHCUCSHZVXBVF5T2LJHMU APABTE2IBKOIHLS2UNK6SAR4T5WRGH2J "
    "DXYWHSZ72ZDNDZ7WYZXKWBBH425C6WZN FAB6TH7IRAVHDLK2AAWY5YBE6CEBUACF FOPUBEUPBC6YLIQDLKL6EW775BMV7YOH "
    "GFK3RDAPQLLNCMQEVGGD2KCPZTLSG3HN I2ADHGP4HL6J37NQAD73J7E5SKFIXJOT JMFXY26FN76GWJJG7N36UI2LNONOGZJV "
    "JPQKPRI5FMTQRJF4ZZMYZYDQVRD55OTC TKT4UESIKTTRALRRLWS4SENSTJX6ODCW UE25S4GRWZOLNXZKY4VWFHNJZWUSYCQC",
)
TESTNET = _network(
    "testnet",
    "t",
    "2",
    "TvqutGPz3T4Cs6oiChxFlclY92M2MvCvfXR5/FETato=",
    "2FF7PSL7FYXVU5UIQHCVDTTPUOOG75GX 2GPBEZTAXKWEXMWCTGZALIZDNWS5B3V7 4H2AMKF6YO2IWJ5MYWJS3N7Y2YU2T4Z5 "
    "DFVODTYGTS3ILVOQ5MFKJIERH6LGKELP ERMF7V2RLCPABMX5AMNGUQBAH4CD5TK4 F4KHJUCLJKY4JV7M5F754LAJX4EB7M4N "
    "IOF6PTBDTLSTBS5NWHUSD7I2NHK3BQ2T O4K4QILG6VPGTYLRAI2RGYRFJZ7N2Q2O OPNUXBRSSQQGHKQNEPD2GLWQYEUY5XLD "
    "PA4QK46276MJJD5DBOLIBMYKNNXMUVDP RJDYXC4YQ4AZKFYTJVCR5GQJF5J6KPRI WELOXP3EOA75JWNO6S5ZJHOO3EYFKPIR",
)
DEVNET = _network(
    "devnet", "dev", "3", "OaUcH6sSxnn49wqTAQyyxYk4WLQfpBeW7dQ1o2MvGC8=", "ZQFHJXFWT2OCEBXF26GFXJU4MPASWPJT"
)

_BY_NAME = {"mainnet": LIVENET, "livenet": LIVENET, "testnet": TESTNET, "devnet": DEVNET}


def network_named(name: str) -> Network:
    """Return the network of the setting `SLUICE_NETWORK`: `mainnet` (also `livenet`), `testnet` or `devnet`.

    Raises `NetworkError` for any other name.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise NetworkError("unknown_network", f"network must be mainnet, testnet or devnet, not {name!r}") from None
