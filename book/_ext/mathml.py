"""Render mathematics as MathML when the book is built: no script, no request, read by screen readers."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.errors import ExtensionError


def to_mathml(latex, display):
    """One formula as a <math> element that keeps its source as an annotation for copying."""
    try:
        return convert(latex, display=display)
    except Exception as error:  # the converter's errors have no base class of their own
        raise ExtensionError(f"this formula can't be rendered: {latex!r} ({error!r})") from error


def visit_math(self, node):
    self.body.append(to_mathml(node.astext(), "inline"))
    raise SkipNode


def visit_math_block(self, node):
    self.body.append(self.starttag(node, "div", CLASS="math", tabindex="0"))
    if node["number"]:
        number = f"({node['number']})"
        self.body.append(f'<span class="eqno">{number}</span>')
    self.body.append(to_mathml(node.astext(), "block"))
    self.body.append("</div>")
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
