"""Reading YAML as a tree of text, lists and maps with line numbers, and nothing else: no types, no
aliases (a small file could become a large one), no depth. Loaded only where a file is YAML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from registry.dependencies.requirements import check_characters
from registry.errors import RequirementsError

MAX_CHARS = 256 * 1024
MAX_EVENTS = 20_000
MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Tree:
    """One value: text, a list, or the pairs of a map with keys that are there once."""

    line: int
    value: str | tuple[Tree, ...] | tuple[tuple[str, Tree], ...]
    is_map: bool = False

    @property
    def where(self) -> str:
        """Begins a message."""
        return f"line {self.line}"

    def text(self) -> str:
        """One line of text. Raises RequirementsError."""
        if not isinstance(self.value, str):
            raise RequirementsError(f"{self.where}: text is missing here")
        check_characters(self.value)
        if "\n" in self.value:
            raise RequirementsError(f"{self.where}: a value has more than one line")
        return self.value

    def items(self, what: str) -> Iterator[Tree]:
        """Of a list; nothing is an empty one. Raises RequirementsError."""
        if isinstance(self.value, str) or self.is_map:
            if self.value:
                raise RequirementsError(f"{self.where}: {what} must be a list")
            return
        for item in self.value:
            assert isinstance(item, Tree)
            yield item

    def pairs(self, what: str) -> Iterator[tuple[str, Tree]]:
        """Of a map. Raises RequirementsError."""
        if isinstance(self.value, str) or not self.is_map:
            raise RequirementsError(f"{self.where}: {what} must have keys and values")
        for pair in self.value:
            assert isinstance(pair, tuple)
            yield pair


def read_yaml(text: str, what: str = "the conda file") -> Tree:
    """The tree of one document, which messages call ``what``. Raises RequirementsError."""
    if len(text) > MAX_CHARS:
        raise RequirementsError(f"{what} has {len(text)} characters, more than {MAX_CHARS}")
    check_characters(text)
    try:
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader), what)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        problem = ascii(error.problem or error.context or "")[1:-1][:120]
        raise RequirementsError(f"{where}{what} is no YAML ({problem})") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise RequirementsError(f"{what} has a character that YAML cannot have") from error
    if node is None:
        raise RequirementsError(f"{what} is empty")
    return _tree(node)


def _check_events(events: Iterator[yaml.Event], what: str) -> None:
    depth = 0
    for count, event in enumerate(events):
        where = f"line {_line(event)}"
        if count > MAX_EVENTS:
            raise RequirementsError(f"{where}: {what} has more than {MAX_EVENTS} parts")
        if getattr(event, "anchor", None):
            raise RequirementsError(f"{where}: anchors and aliases are not taken; write it out")
        tag = getattr(event, "tag", None)
        if tag:
            raise RequirementsError(f"{where}: the tag {ascii(tag)[:60]} is not taken")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise RequirementsError(f"{where}: {what} is too deep")


def _tree(node: yaml.Node) -> Tree:
    line = _line(node)
    if isinstance(node, yaml.SequenceNode):
        return Tree(line, tuple(map(_tree, node.value)))
    if isinstance(node, yaml.MappingNode):
        pairs = tuple((_tree(key).text(), _tree(value)) for key, value in node.value)
        counts = Counter(key for key, _ in pairs)
        twice = next((key for key, count in counts.items() if count > 1), None)
        if twice is not None:
            raise RequirementsError(f"line {line}: {ascii(twice)[:60]} is there twice")
        return Tree(line, pairs, is_map=True)
    return Tree(line, str(node.value))


def _line(part: yaml.Node | yaml.Event) -> int:
    return part.start_mark.line + 1 if part.start_mark else 1
