"""Shows the fields of a class as one table in the API pages, instead of a heading for each.

A griffe extension. A field's text is the docstring line under it.
"""

from __future__ import annotations

from typing import Any

import griffe


class FieldTable(griffe.Extension):
    """Moves public attributes that have a line into a section of their class."""

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Collect the attributes of a class as soon as its members are known."""
        fields = [
            member
            for name, member in cls.members.items()
            if not name.startswith("_") and member.is_attribute and member.docstring and "property" not in member.labels
        ]
        if not fields:
            return
        rows = [
            griffe.DocstringAttribute(
                name=field.name, annotation=field.annotation, description=" ".join(field.docstring.value.split())
            )
            for field in fields
        ]
        if cls.docstring is None:
            cls.docstring = griffe.Docstring("", parent=cls)
        said = [*cls.docstring.parse("google"), griffe.DocstringSectionAttributes(rows, title="Fields:")]
        cls.docstring.__dict__["parsed"] = said
        for field in fields:
            cls.del_member(field.name)
