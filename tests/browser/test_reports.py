"""Reports of one page: what is wider than the window scrolls in its own box, at a desk and on a telephone."""

import re

import pytest

import vigie

HEART = "insuffisance_cardiaque"

# What reaches beyond the window, or beyond its own box, and in nothing that scrolls.
CUT = """() => [...document.querySelectorAll("body *")].filter(each => {
  if (each.getBoundingClientRect().right <= innerWidth + 1) return false;
  for (let box = each.parentElement; box; box = box.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
  return true;
}).map(each => each.outerHTML.slice(0, 90))"""
SCROLLING = (
    "() => [...document.querySelectorAll('.wide')].filter(each => each.scrollWidth > each.clientWidth).length"
)


ISO = re.compile(r"\b20\d\d-\d\d-\d\d\b")
# Signs of French after a space that breaks.
LOOSE = re.compile(r"[\w)] [:;?!»](?=[ <.,)\n]|$)|« ")


def told(*words):
    vigie.app([str(word) for word in words], standalone_mode=False)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A back-test with a sweep, limits of single patients, a replay and the quality of its files."""
    out = tmp_path_factory.mktemp("reports")
    cohort, truth = out / "c.parquet", out / "c.truth.parquet"
    told("simulate", "--patients", 30, "--days", 100, "--protocol", HEART, "--out", cohort)
    of = (cohort, "--protocol", HEART)
    outcomes = ("--outcomes", truth, "--outcome", "decompensation")
    changed = ("--limit", "gain_3d_kg=1.2", "--sweep", "gain_3d_kg=1:2:0.5")
    told("backtest", *of, *changed, *outcomes, "--out", out / "tried")
    told("limits", "propose", *of, "--limit", "systolic_low", "--out", out / "own")
    told("replay", *of, "--out", out / "replay")
    return {
        "back-test": out / "tried" / "report.html",
        "personal": out / "own" / "report.html",
        "replay": out / "replay" / "report.html",
        "quality": out / "replay" / "quality.html",
    }


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("name", ["back-test", "personal", "replay", "quality"])
def test_nothing_is_cut(reports, page, axe, shot, name, width):
    opened = page(reports[name].as_uri(), width=width, height=800)
    assert opened.evaluate(CUT) == []
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert bool(opened.evaluate(SCROLLING)) == (width == 360)
    said = opened.locator("body").inner_text() + opened.locator("svg").first.text_content()
    assert ISO.findall(said) == []
    assert LOOSE.findall(opened.locator("body").evaluate("each => each.textContent")) == []
    assert "packets" not in said
    assert re.search(r"\b\d\d/\d\d/20\d\d\b", said)
    assert opened.locator("html").get_attribute("lang") == "fr"
    axe(opened)
    shot(opened, f"report-{name}-{width}")
    opened.emulate_media(media="print")
    assert opened.locator(".wide").first.evaluate("each => getComputedStyle(each).overflowX") == "visible"
