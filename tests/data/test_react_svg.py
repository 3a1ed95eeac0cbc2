import pytest

from fulldeck.data.react_svg import components
from fulldeck.data.svg_sheet import pixels
from fulldeck.errors import DataError

CODE = r"""
import * as React from 'react';
const SvgHK = _ref => {
  let { title, titleId, ...props } = _ref;
  return /*#__PURE__*/React.createElement("svg", _extends({
    xmlns: "http://www.w3.org/2000/svg", className: "a_card", width: 20, height: 30, viewBox: "-1e1 -15 20 30",
    "aria-labelledby": titleId
  }, props), title ? /*#__PURE__*/React.createElement("title", { id: titleId }, title) : null,
  React.createElement("path", { d: "M-10-15h20v30h-20Z", fillOpacity: .5, style: { fill: "#00f" } }));
};
const SvgB1 = _ref => React.createElement("svg", { viewBox: "0 0 1 1", width: 1, height: 1 });
export { SvgHK as HK };
"""


def test_components_become_drawings():
    found = components(CODE.replace("fillOpacity: .5", "fillOpacity: 1"))
    assert set(found) == {"HK", "B1"}
    king = found["HK"]
    assert king.get("viewBox") == "-1e1 -15 20 30"
    assert king.get("class") == "a_card"
    assert king.get("aria-labelledby") is None
    assert [child.tag.rpartition("}")[2] for child in king] == ["path"]
    assert king[0].get("fill-opacity") == "1"
    assert pixels(king, 20)[15, 10].tolist() == [0, 0, 255, 255]


def test_what_is_not_understood_says_which():
    with pytest.raises(DataError, match="SvgHK is not understood"):
        components('const SvgHK = () => React.createElement("svg", {width: 5')
