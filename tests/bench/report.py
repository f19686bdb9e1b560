"""What was measured, what it is held against, and how both are shown."""
import dataclasses
import json

from . import stats


@dataclasses.dataclass(frozen=True)
class Goal:
    """at_least, at_most or below a bound, or the bound times what another has in the same part, workload and metric."""

    relation: str  # ">=", "<=" or "<"
    bound: float
    of: str = None

    def judge(self, values, others):
        """(figure, reached); figure is what is held against the bound. None where the other is missing.
        others: {contestant: values}"""
        figure = stats.median(values) if self.of is None else stats.ratio(values, others.get(self.of))
        if figure is None:
            return None
        reached = {">=": figure >= self.bound, "<=": figure <= self.bound, "<": figure < self.bound}[self.relation]
        return figure, reached


def at_least(bound, of=None):
    return Goal(">=", bound, of)


def at_most(bound, of=None):
    return Goal("<=", bound, of)


def below(bound, of=None):
    return Goal("<", bound, of)


@dataclasses.dataclass
class Row:
    """One figure of one contestant in one workload: a value for each repetition, None for a void one.

    anchor: the contestant whose value of the same part, workload and metric makes the ratio. void: why a run does not
    count. missing: why there was none. note: what else a reader should know."""

    part: str
    workload: str
    contestant: str
    metric: str
    unit: str
    values: list = dataclasses.field(default_factory=list)
    anchor: str = None
    goals: list = dataclasses.field(default_factory=list)
    void: str = None
    missing: str = None
    note: str = None

    @property
    def key(self):
        return self.part, self.workload, self.metric


def judged(rows):
    """[{the row's fields, median, ratio, goals: [{relation, bound, of, figure, reached}]}]"""
    peers = {}
    for row in rows:
        peers.setdefault(row.key, {})[row.contestant] = row.values
    result = []
    for row in rows:
        others = peers[row.key]
        told = dataclasses.asdict(row) | {"median": None, "ratio": None, "goals": []}
        if row.values:
            told["median"] = stats.median(row.values)
            if row.anchor not in (None, row.contestant):
                told["ratio"] = stats.ratio(row.values, others.get(row.anchor))
            for goal in row.goals:
                figure, reached = goal.judge(row.values, others) or (None, None)
                told["goals"].append(dataclasses.asdict(goal) | {"figure": figure, "reached": reached})
        result.append(told)
    return result


def number(value):
    """Four digits or so, thousands apart."""
    if value is None:
        return ""
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _spread(values):
    values = stats.counted(values)
    low, high = (number(of(values, default=None)) for of in (min, max))
    return low if low == high else f"{low} … {high}"


def _goal(goal):
    relation = {">=": "≥", "<=": "≤", "<": "<"}[goal["relation"]]
    wanted = f"{relation} {number(goal['bound'])}" + (f" × {goal['of']}" if goal["of"] else "")
    if goal["reached"] is None:
        return f"{wanted}: unknown"
    figure = f"{number(goal['figure'])} " if goal["of"] else ""
    return f"{wanted}: {figure}{'ok' if goal['reached'] else 'MISSED'}"


def _cells(told):
    if told["missing"]:
        return [told["workload"], told["contestant"], told["metric"], "missing", "", "", told["missing"]]
    ratio = f"{number(told['ratio'])} × {told['anchor']}" if told["ratio"] is not None else ""
    remark = "; ".join([f"VOID: {told['void']}"] * bool(told["void"]) + [_goal(g) for g in told["goals"]]
                       + [told["note"]] * bool(told["note"]))
    measured = f"{number(told['median'])} {told['unit']}" if told["median"] is not None else ""
    return [told["workload"], told["contestant"], told["metric"], measured,
            _spread(told["values"]), ratio, remark]


HEADINGS = ["workload", "contestant", "metric", "median", "all", "ratio", "goal"]


def table(rows):
    """Markdown, a table for each part, columns padded."""
    parts = {}
    for told in judged(rows):
        parts.setdefault(told["part"], []).append(_cells(told))
    text = ""
    for part, lines in parts.items():
        widths = [max(len(line[i]) for line in [HEADINGS, *lines]) for i in range(len(HEADINGS))]
        shown = [HEADINGS, ["-" * width for width in widths], *lines]
        text += f"\n## {part}\n\n" + "".join(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |\n" for line in shown)
    return text


def as_json(rows, about):
    """about: a dict of what was run, where, and how."""
    return json.dumps(about | {"rows": judged(rows)}, indent=1, ensure_ascii=False) + "\n"
