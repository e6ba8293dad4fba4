"""How Sphinx builds these pages: `make docs`."""

from importlib.metadata import metadata

_about = metadata("kinesis-runtime")

project = "kinesis"
author = _about["Author"]
copyright = f"2026, {author}"
release = version = _about["Version"]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
# Pygments has no lexer for it; the block is for readers whose viewer draws it.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "alabaster"
html_theme_options = {
    "description": _about["Summary"],
    "fixed_sidebar": True,
    "page_width": "64em",
}
# Nothing is fetched from elsewhere: the pages can be read without a network.
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
