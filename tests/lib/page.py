#!/usr/bin/env python3
"""page.py FILE.html [QUESTION ANSWER] - what must hold of a page of vqa --explain: well nested, no
script, nothing from elsewhere, and the question and the answer in it as they were typed.
Prints what it holds: its pictures, its veils, its chips, its steps."""
import base64
import html.parser
import re
import sys

VOID = {"meta", "img", "link", "br"}
OURS = {"html", "head", "meta", "link", "title", "style", "body", "h1", "h2", "p", "div", "figure", "figcaption",
        "img", "span", "small", "code", "table", "tr", "th", "td"}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "rel", "href", "class", "alt", "src", "style"}

class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text, self.images, self.count = [], {}, [], {}

    def handle_starttag(self, tag, attrs):
        assert tag in OURS, f"<{tag}>"
        for k, v in attrs:
            assert k in ATTRIBUTES, f"{tag} {k}={v}"
            assert k not in ("src", "href") or v.startswith("data:"), f"{tag} {k}={v}"
        self.images += [v for k, v in attrs if k == "src"]
        for c in dict(attrs).get("class", "").split():
            self.count[c] = self.count.get(c, 0) + 1
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)

raw = open(sys.argv[1], encoding="utf-8").read()
p = Page()
p.feed(raw)
p.close()
assert not p.open, p.open
assert "default-src 'none'" in raw and "<script" not in raw.lower() and not re.search(r"url\((?!data:)", raw)
assert raw.startswith("<!DOCTYPE html>") and 'name="viewport"' in raw and "prefers-color-scheme:dark" in raw
for v in p.images:
    kind, data = v.split(";base64,")
    bytes = base64.b64decode(data, validate=True)
    assert kind != "data:image/png" or bytes[:8] == b"\x89PNG\r\n\x1a\n"
if len(sys.argv) > 2:
    assert "".join(p.text["h1"]) == sys.argv[2] and "".join(p.text["title"]) == sys.argv[2]
    assert raw.count('<p class="answer">') == 1 and re.search(r'<p class="answer">([^<]*)</p>', raw)[1] == sys.argv[3]
print(len(p.images), p.count["pic"], p.count["chip"], p.count["tr"])
