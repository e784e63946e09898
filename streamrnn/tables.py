"""What tables of a config are made of. Whatever can be configured describes its own table, beside itself."""

from typing import Annotated

from msgspec import Meta, Struct

# Upper bounds only keep nonsense (a misplaced digit, an infinity) from becoming an allocation or a NaN.
Size = Annotated[int, Meta(ge=0, le=2**20)]
Units = Annotated[int, Meta(ge=1, le=2**14)]
Frames = Annotated[int, Meta(ge=1, le=2**20)]
Count = Annotated[int, Meta(ge=0, le=2**20)]
Positive = Annotated[float, Meta(gt=0, le=1000)]
Epsilon = Annotated[float, Meta(ge=1e-30, le=1)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]
Rate = Annotated[float, Meta(ge=0, le=1e9)]
NonEmpty = Annotated[str, Meta(min_length=1)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class Tagged(Section, frozen=True, tag_field="kind", tag=str.lower):
    """A table whose other keys depend on its `kind`: the class name in small letters."""

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)
