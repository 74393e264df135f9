"""What tests of pages with a form for files share: a look at markup, and at what scripts made."""

from html.parser import HTMLParser

from devtools import Device

HOSTILE = "</p><script>alert(1)</script> \"'><img src=x onerror=alert(1)> {{ 7 * 7 }} \u202e"
PHONE = Device(360, 3, touch=True, phone=True)
SHOWN = "[...document.querySelectorAll('.sizes img')].filter(img => img.naturalWidth).length"
STATES = "[...document.querySelectorAll('.upload')].map(row => row.dataset.state).sort().join()"


class Elements(HTMLParser):
    """What a browser makes of a page: elements and text, without those of templates."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._of: list[tuple[int, str]] = []
        self._is_inert = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self._is_inert |= tag == "template"
        if not self._is_inert:
            self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Leave a template."""
        self._is_inert &= tag != "template"

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if not self._is_inert and data.strip():
            self.texts.append((self.found[-1][0] if self.found else "", data.strip()))
            self._of.append((len(self.found) - 1, data.strip()))

    def all(self, tag: str, name: str) -> list[str]:
        """Return an attribute of all elements of a kind that have it."""
        return [
            attributes[name] for known, attributes in self.found
            if known == tag and name in attributes
        ]  # fmt: skip

    def text(self, tag: str) -> list[str]:
        """Return the texts in elements of a kind."""
        return [text for known, text in self.texts if known == tag]

    def text_of(self, index: int) -> list[str]:
        """Return the texts in one of `found`, up to the next of them."""
        return [text for at, text in self._of if at == index]
