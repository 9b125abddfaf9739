"""A page taken apart as a browser does it, for tests of what is on it."""

from __future__ import annotations

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)
