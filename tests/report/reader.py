"""What a page of HTML says, and how it is made."""

from html.parser import HTMLParser

EVIL = '<script>alert("1")</script>'
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Elements of a page, which must be nested as they are closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]
