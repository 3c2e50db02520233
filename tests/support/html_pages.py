"""The HTML of a page as elements, so that a test sees what a browser would see and not how it is written."""

from html.parser import HTMLParser

VOID = {'meta', 'link', 'input', 'img', 'br', 'hr'}


class Element:
    """An element: its name, attributes, and the elements and texts in it."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.inside = tag, dict(attributes), []

    def all(self, tag='', **attributes):
        """All elements below with this name and these attributes, in their order; class_ stands for class."""
        wanted = {name.rstrip('_').replace('_', '-'): value for name, value in attributes.items()}
        found = []
        for each in self.inside:
            if isinstance(each, Element):
                if tag in ('', each.tag) and all(each.attributes.get(name) == value for name, value in wanted.items()):
                    found.append(each)
                found += each.all(tag, **attributes)
        return found

    def one(self, tag='', **attributes):
        """The only one."""
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def text(self):
        """What one reads, with single spaces."""
        return ' '.join(''.join(each if isinstance(each, str) else f' {each.text} ' for each in self.inside).split())


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = [Element('', [])]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, attrs)
        self.open[-1].inside.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop().tag == tag, tag

    def handle_data(self, data):
        self.open[-1].inside.append(data)


def read(html):
    """The page; an assertion fails where an element is not closed."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    (page,) = reader.open
    return page


def rows(page):
    """The rows of its table, each as {what the cell is: its text}."""
    return [{cell.attributes['data-label']: cell.text for cell in row.all() if 'data-label' in cell.attributes} for row in page.one('tbody').all('tr')]
