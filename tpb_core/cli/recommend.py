"""`tpb recommend --slo ...`: the configuration with the least energy per good request under latency targets."""

from __future__ import annotations

from tpb_core.api.errors import EXIT_DONE, BadInput
from tpb_core.cli.configurations_command import FLAGS, answer, field_from, words_of

USAGE = f"""\
Usage: tpb recommend --slo TARGETS ["CONDITION"] [FLAGS]

A request is good when it ended well and met every target. A configuration meets ttft_p95=500ms when at least 95 % of the requests that
ended in the window did; failed ones did not. All energy of the window is divided by its good requests. Energies that cannot be told
apart are ties. CONDITION is what could follow "where" in a query of the view results.

  tpb recommend --slo ttft_p95=500ms,tpot_p95=50ms "model = 'llama-3.1-8b'"

  --slo TARGETS        ttft, tpot and e2e with a percentile and a unit (us, ms, s, min), joined with commas
{FLAGS}"""


def main(argv: list[str]) -> int:
    """The command. Exit code 2 for bad input, 3 where nothing can stand side by side, 0 also where nothing meets the targets."""
    words = words_of("recommend", argv, {"--slo": None})
    if words.help:
        print(USAGE, end="")
        return EXIT_DONE
    if words.optional("--slo") is None:
        raise BadInput("tpb recommend needs targets.", "Type for example: tpb recommend --slo ttft_p95=500ms,tpot_p95=50ms")
    from tpb_core.report.recommendation.slo import read_targets

    targets, scope = read_targets(words.value("--slo")), words.value("--scope")
    from tpb_core.report.comparison.records import WITH_REQUESTS
    from tpb_core.report.pareto.configurations import remarks
    from tpb_core.report.recommendation.recommendation import MISSES, UNKNOWN, recommend
    from tpb_core.report.recommendation.recommendation_picture import recommendation_picture
    from tpb_core.report.recommendation.recommendation_rows import recommendation_table, recommendation_text

    field = field_from(words, WITH_REQUESTS)
    candidates = recommend(field.configurations, targets, scope)
    title = f"Energy per good request under {', '.join(target.text for target in targets)} (scope {scope})"
    rows, text = recommendation_table(candidates, targets), recommendation_text(candidates, targets)
    none = ["No configuration meets the targets."] if all(each.standing in (MISSES, UNKNOWN) for each in candidates) else []
    return answer(words, rows, lambda: recommendation_picture(candidates, title), text, none, remarks(field, scope))
