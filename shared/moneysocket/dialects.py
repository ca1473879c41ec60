"""How the two reference libraries differ on the wire, and what Sluice makes of it.

Messages are JSON, and each library writes, reads and judges it a little differently. A `Dialect` is one column of
this table:

| what                                        | PYTHON              | JAVASCRIPT              | SLUICE               |
|---------------------------------------------|---------------------|-------------------------|----------------------|
| text it writes                              | `", "` `": "`, ASCII | no spaces, raw UTF-8   | as PYTHON            |
| numbers                                     | integers are exact  | all are doubles         | integers are exact   |
| NaN and Infinity as words                   | read                | refused                 | refused              |
| bytes that are not UTF-8, a byte order mark | refused             | replaced, dropped       | refused              |
| timestamp 0                                 | taken               | refused                 | taken                |
| uuid                                        | any form            | 8-4-4-4-12              | 8-4-4-4-12           |
| 64 hexadecimal digits                       | checked             | six in a row will do    | checked              |
| `msats` asked for                           | integer             | any number              | integer              |
| `ext`, `wad` absent                         | refused             | taken                   | taken                |
| a `wad` that is null                        | no bitcoin          | null                    | null                 |
| lengths of text counted in                  | characters          | UTF-16 units            | characters           |
| wad: `countries` up to                      | 200                 | 1000                    | 1000                 |
| wad: fractions in `msats`, in `decimals`    | refused             | taken                   | taken, refused       |
| wad: `asset_units` that is not finite       | taken               | taken                   | refused              |
| application messages in clear               | taken               | refused                 | refused              |
| lone surrogates and NUL in text             | kept                | kept                    | U+FFFD               |

SLUICE takes every message that both libraries take (but for an amount that is not finite) and refuses what breaks a
rule of both; where they differ it takes what either sends in earnest and cannot be misread. The other two exist to
write as a library would and to foretell its verdict: what PYTHON or JAVASCRIPT read is not for use.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """One column of the table above; the defaults are those of SLUICE."""

    name: str
    spaced: bool = True
    ascii_only: bool = True
    doubles: bool = False
    number_words: bool = False
    lossy_text: bool = False
    mends_text: bool = False
    zero_timestamp: bool = True
    any_uuid: bool = False
    loose_hex: bool = False
    any_msats: bool = False
    optional_keys: bool = True
    null_wad_is_empty: bool = False
    utf16_lengths: bool = False
    max_countries: int = 1000
    fractional_msats: bool = True
    fractional_decimals: bool = False
    endless_units: bool = False
    clear_messages: bool = False

    def length(self, text: str) -> int:
        """The length of `text` as this dialect counts."""
        return len(text.encode("utf-16-le", "surrogatepass")) // 2 if self.utf16_lengths else len(text)

    def __repr__(self) -> str:
        return self.name.upper()


PYTHON = Dialect(
    "python",
    number_words=True,
    any_uuid=True,
    optional_keys=False,
    null_wad_is_empty=True,
    max_countries=200,
    fractional_msats=False,
    endless_units=True,
    clear_messages=True,
)
"""py-moneysocket."""

JAVASCRIPT = Dialect(
    "javascript",
    spaced=False,
    ascii_only=False,
    doubles=True,
    lossy_text=True,
    zero_timestamp=False,
    loose_hex=True,
    any_msats=True,
    utf16_lengths=True,
    fractional_decimals=True,
    endless_units=True,
)
"""js-moneysocket."""

SLUICE = Dialect("sluice", mends_text=True)
"""Ours: the default of everything in this package."""
