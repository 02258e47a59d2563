"""`tpb pareto [CONDITION]`: energy against speed over the database; which configurations no other one beats in both."""

from __future__ import annotations

from tpb_core.api.errors import EXIT_DONE
from tpb_core.cli.configurations_command import FLAGS, answer, field_from, words_of

USAGE = f"""\
Usage: tpb pareto ["CONDITION"] [FLAGS]

Repeats of one configuration are taken together. A configuration is on the front when none has less energy at its speed or better; where
the energies of two cannot be told apart, that is a tie. CONDITION is what could follow "where" in a query of the view results.

  tpb pareto "model = 'llama-3.1-8b'" --speed tpot_p95_ms --svg front.svg

  --energy NAME        token (default): J per output token; request: J per request
  --speed NAME         output_tokens_per_s (default), requests_per_s, or ttft_, tpot_, itl_ (_ms), latency_ (_s) with
                       mean, p50, p90, p95 or p99: tpot_p95_ms, latency_p99_s
{FLAGS}"""


def main(argv: list[str]) -> int:
    """The command. Exit code 2 for bad input, 3 where nothing can stand side by side."""
    words = words_of("pareto", argv, {"--energy": "token", "--speed": "output_tokens_per_s"})
    if words.help:
        print(USAGE, end="")
        return EXIT_DONE
    from tpb_core.report.comparison.records import FIGURES
    from tpb_core.report.pareto.configurations import remarks
    from tpb_core.report.pareto.front import ENERGIES, SPEEDS, places
    from tpb_core.report.pareto.pareto_picture import pareto_picture
    from tpb_core.report.pareto.pareto_rows import pareto_table, pareto_text

    energy, speed, scope = words.choice("--energy", list(ENERGIES)), words.choice("--speed", list(SPEEDS)), words.value("--scope")
    field = field_from(words, FIGURES)
    found, lacking = places(field.configurations, scope=scope, energy=energy, speed=speed)
    caption = f"{len(found)} configurations, scope {scope}; bars are 95 % intervals (total where known)"
    said = [*(f"Without both figures: {label}" for label in lacking), *remarks(field, scope)]
    rows = pareto_table(found, energy, speed, scope)
    return answer(words, rows, lambda: pareto_picture(found, energy, speed, caption), pareto_text(found, energy, speed), [], said)
