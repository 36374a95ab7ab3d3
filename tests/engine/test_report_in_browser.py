"""The pages of `xgbpatch report` and `bench` in a browser: no script fails, nothing is cut off, what is clicked works.

It needs no engine; it stands here because this stage may install packages: scripts/test runs scripts/browser first.
"""

from __future__ import annotations

from support.browser import chromium
from support.explained import NAMES, explain
from xgbpatch import report
from xgbpatch.bench import report as bench
from xgbpatch.bench.cases import BATCH, Case
from xgbpatch.bench.load import Load
from xgbpatch.bench.runner import Figures, Result
from xgbpatch.report.features import Beside

DRAWN = """[...document.querySelectorAll('figure .chart')].every(chart => chart.querySelector('svg'))
    && document.documentElement.dataset.ready === 'yes'"""
BOX = (
    "const box = element => element.getBoundingClientRect(); const shown = element => element.textContent &&"
    " getComputedStyle(element).opacity !== '0';"
)
OVERLAPS = f"""(() => {{ {BOX}
    return [...document.querySelectorAll('.role-axis-label')].flatMap(axis => {{
        const texts = [...axis.querySelectorAll('text')].filter(shown);
        return texts.flatMap((one, place) => texts.slice(place + 1).filter(two => {{
            const a = box(one), b = box(two);
            return a.left < b.right - 1 && b.left < a.right - 1 && a.top + 2 < b.bottom - 2 && b.top + 2 < a.bottom - 2;
        }}).map(two => one.textContent + ' / ' + two.textContent));
    }});
}})()"""
CUT_OFF = f"""(() => {{ {BOX}
    return [...document.querySelectorAll('.chart svg')].flatMap(svg => [...svg.querySelectorAll('text')].filter(
        text => box(text).width && (box(text).left < box(svg).left - 1 || box(text).right > box(svg).right + 1)
    ).map(text => text.textContent));
}})()"""
FIRST_FEATURE = "document.querySelector('#features tbody tr:not([hidden]) td').textContent"


def test_the_page_works_at_two_widths_and_without_scripts(tmp_path):
    explained = explain()
    files = {"explained.csv": explained.lines(), "moved.csv": explain(rows=90).lines(), "data.csv": explained.inputs(),
             "labels.csv": map(str, explained.labels)}  # fmt: skip
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = ("</script><b>shell weight</b>", *NAMES[1:])
    beside = Beside((tmp_path / "data.csv",), (tmp_path / "labels.csv",), cohort=names[0], names=names)
    made_page = report.make([tmp_path / "explained.csv"], beside=beside, compare=[tmp_path / "moved.csv"])
    page = tmp_path / "report.html"
    page.write_text(made_page.html, encoding="utf-8")

    with chromium(tmp_path / "profile") as tab:
        for width in (1200, 400):
            tab.open(page, width)
            tab.wait_for(DRAWN)
            assert tab.problems == []
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert (tab.evaluate(OVERLAPS), tab.evaluate(CUT_OFF)) == ([], [])
            assert tab.evaluate("document.querySelectorAll('b').length") == 0

        strongest = tab.evaluate(FIRST_FEATURE)
        tab.evaluate("document.querySelectorAll('#features th button')[1].click()")  # ascends at the second click
        tab.evaluate("document.querySelectorAll('#features th button')[1].click()")
        assert tab.evaluate(FIRST_FEATURE) == made_page.summary.names[made_page.summary.order[-1]] != strongest
        tab.evaluate(
            "box = document.getElementById('filter'); box.value = 'whole'; box.dispatchEvent(new Event('input'))"
        )
        assert tab.evaluate(FIRST_FEATURE) == "whole weight"

        tab.evaluate(
            "input = document.getElementById('row'); input.value = 7; input.dispatchEvent(new Event('change'))"
        )
        assert tab.evaluate("document.getElementById('row-title').textContent") == "Row 7"
        cell = f"{explained.data[6, 3]:.4g} = height"
        tab.wait_for(f"document.querySelector('#any-row svg').textContent.includes('{cell}')")
        assert tab.pdf().startswith(b"%PDF")

        tab.open(page, 1200, scripts=False)
        figures = "[...document.querySelectorAll('figure img')].filter(image => image.naturalWidth > 400)"
        count = f"{figures}.filter(image => image.offsetHeight > 100).length"
        assert tab.evaluate(count) == len(made_page.figures)
        assert tab.problems == []


def test_the_page_of_bench_fits_any_width(tmp_path):
    turns = [Load(number, 0, 1.0, 0.002, 0.004, "wrk") for number in (100, 300)]
    name = "123456789012.dkr.ecr.us-west-2.amazonaws.com/xgbpatch/sagemaker-xgboost:3.2-0-bc39854aadaf-42e9d6d8"
    figures = {"base": Figures(turns, [0.1, 0.2]), name: Figures(turns[::-1], [0.01, 0.02]), "no": Figures()}
    page = tmp_path / "bench.html"
    page.write_text(bench.page([Result(Case(BATCH, "F", 1_000_000, True), figures)], f"xgbpatch bench {name}"))
    with chromium(tmp_path / "profile") as tab:
        for width in (1200, 400):
            tab.open(page, width)
            assert tab.problems == []
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            bars = (
                f"(() => {{ {BOX} return [...document.querySelectorAll('.bar')].map(bar => [...bar.children].map(box)"
            )
            beside = ".every((part, place, all) => !place || part.left >= all[place - 1].right - 1"
            assert all(tab.evaluate(f"{bars}{beside} || part.top >= all[place - 1].bottom - 1)) }})()"))
