"""A picture of one real week with its forecasts and an alarm: `python -m benchmarks.quality.forecast.week FOLDER`.

FOLDER holds `nab/data`. The week is that of the blizzard of 26 January 2015, in the rides of New York's taxis; the
network has seen the seven months before it, once. It writes docs/week.svg and prints the alarm.
"""

import csv
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import typer

matplotlib.use("svg")
from matplotlib import dates
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.quality.forecast import ours
from benchmarks.quality.forecast.series import read
from benchmarks.speed.draw import STYLE
from streamrnn.model.anomalies import Alarm, Seen, alarm
from streamrnn.model.forecasts import Horizon

TAXIS = "nab/data/realKnownCause/nyc_taxi.csv"
FIRST, DAYS = datetime(2015, 1, 23), 7
PICTURE = Path(__file__).parents[3] / "docs" / "week.svg"
VALUE, FORECAST, BAND, SCORE, ALARM = "black", "tab:blue", "tab:blue", "tab:purple", "tab:red"


def times(file: Path) -> list[datetime]:
    """Of the rows."""
    with file.open() as lines:
        return [datetime.fromisoformat(row["timestamp"]) for row in csv.DictReader(lines)]


def alarms(seen: Seen, rows: range) -> list[Alarm]:
    """Those that are in these rows."""
    every = (alarm("taxis", row, Seen(*(each[row] for each in seen)), ["rides"]) for row in rows)
    return [found for found in every if found]


def draw_values(axes: Axes, when: list[datetime], values: np.ndarray, said: Horizon) -> None:
    """Values in thousands, and for each what was forecast half an hour before."""
    lower, upper, mean = (each[:, 0] / 1000 for each in (said.lower, said.upper, said.mean))
    axes.fill_between(when, lower, upper, color=BAND, alpha=0.25, linewidth=0, label="band, 90 %")
    axes.plot(when, mean, color=FORECAST, linewidth=1, label="forecast")
    axes.plot(when, values / 1000, color=VALUE, linewidth=1.2, label="rides")
    axes.set_ylabel("thousand rides\nin half an hour")
    axes.set_ylim(bottom=0)


def draw_score(axes: Axes, when: list[datetime], seen: Seen) -> None:
    """The score, and what an alarm takes."""
    axes.plot(when, seen.score, color=SCORE, linewidth=1.2, label="score")
    axes.plot(when, seen.threshold, color=ALARM, linewidth=1, linestyle="--", label="threshold")
    axes.set_ylabel("score")
    axes.set_ylim(bottom=0)


def mark(axes: Axes, when: list[datetime], rows: range, found: list[Alarm]) -> None:
    """Shade each event, and have a line where it begins."""
    for each in found:
        at = when[each.seq - rows.start]
        if each.event == "begins":
            axes.axvline(at, color=ALARM, linewidth=1.5, label="alarm")
            ends = (other.seq for other in found if other.event == "ends" and other.seq > each.seq)
            axes.axvspan(at, when[next(ends, rows.stop - 1) - rows.start], color=ALARM, alpha=0.08, linewidth=0)


def draw(when: list[datetime], rows: range, values: np.ndarray, said: Horizon, seen: Seen, found: list[Alarm]) -> None:
    """The picture: above what came and what was expected, below how unusual it is."""
    figure, (above, below) = plt.subplots(
        2, sharex=True, figsize=(9, 4.8), layout="constrained", height_ratios=(3, 1), gridspec_kw={"hspace": 0.05}
    )
    draw_values(above, when, values, said)
    draw_score(below, when, seen)
    for axes in (above, below):
        mark(axes, when, rows, found)
    above.set_title("taxi rides in New York, and the blizzard of 26 January 2015")
    below.xaxis.set(major_locator=dates.DayLocator(), major_formatter=dates.DateFormatter("%a %-d %b"))
    below.set_xlim(when[0], when[-1])
    for label in below.get_xticklabels():
        label.set_horizontalalignment("left")
    legend = dict(pair[::-1] for axes in (below, above) for pair in zip(*axes.get_legend_handles_labels(), strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=len(legend), frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})
    plt.close(figure)


def main(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)]) -> None:
    """Draw the week, and print its alarms."""
    series, every = read(folder / TAXIS), times(folder / TAXIS)
    options = {"seasons": [series.day, series.week], "anomaly": {"day": series.day}}
    Y, _, net = ours.forecasts(series.values[:, None], **options)
    first, end = every.index(FIRST), every.index(FIRST + timedelta(days=DAYS))
    rows = range(first, end)
    said = net.readout.read(Y[first - 1 : end - 1])[1]  # made a row before
    seen = net.readout.anomalies(Y)
    found = alarms(seen, rows)
    with plt.rc_context(STYLE):
        draw(every[first:end], rows, series.values[first:end], said, Seen(*(each[first:end] for each in seen)), found)
    inside = (series.values[rows, None] >= said.lower) & (series.values[rows, None] <= said.upper)
    print(f"in the band: {inside.mean():.0%}")
    for each in found:
        print(f"{every[each.seq]}  {each.event}, score {each.score:.2f} of {each.threshold:.2f}: {each.words}")


if __name__ == "__main__":
    typer.run(main)
