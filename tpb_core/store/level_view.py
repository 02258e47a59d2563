"""The view `evidence_levels`: the level of evidence that the repeats of each point reach, and what they lack for the next one."""

from __future__ import annotations

from tpb_core.api.levels import CHECK_PREFIX, DEMANDS, LEVELS, SEPARATOR


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_DEMANDS = ", ".join(
    f"({place}, {_quoted(level)}, {demands.repeats}, {demands.interval!r})" for place, (level, demands) in enumerate(DEMANDS.items(), 1)
)
_NAMES = "[" + ", ".join(map(_quoted, LEVELS)) + "]"

# A run that was cut off is no repeat; one that was finished and is not valid keeps its point down until it is measured again. Sentences
# that differ between runs only in what a run has (the part in parentheses) are one demand.
EVIDENCE_LEVELS = f"""
WITH demands(place, level, repeats, width) AS (VALUES {_DEMANDS}),
points AS (
    SELECT study_id, point, arm, any_value(engine) AS engine, any_value(model) AS model, count(*) AS runs,
        count(*) FILTER (status = 'complete' AND valid) AS repeats
    FROM runs GROUP BY study_id, point, arm
),
scatter AS (
    SELECT study_id, point, arm, count(y) AS n, stddev_samp(y) / nullif(abs(avg(y)), 0) AS sd FROM (
        SELECT study_id, point, arm, coalesce(j_per_output_token, joules) AS y FROM results
        WHERE scope = 'total' AND "window" = 'measure' AND status = 'complete' AND valid
    ) GROUP BY study_id, point, arm
),
said AS (
    SELECT p.study_id, p.point, p.arm, d.place, d.repeats || ' valid repeats (there '
        || CASE p.repeats WHEN 1 THEN 'is ' ELSE 'are ' END || p.repeats || '): run.repeats=' || d.repeats AS sentence
    FROM points p CROSS JOIN demands d WHERE p.repeats < d.repeats
    UNION ALL
    SELECT s.study_id, s.point, s.arm, d.place, 'an interval between runs within ' || round(100 * d.width)::INTEGER || ' % (it is '
        || round(100 * t.t975 * s.sd / sqrt(s.n), 1) || ' %): more run.repeats'
    FROM scatter s CROSS JOIN demands d JOIN student_t t ON t.dof = least(s.n - 1, (SELECT max(dof) FROM student_t))
    WHERE t.t975 * s.sd / sqrt(s.n) > d.width
    UNION ALL
    SELECT r.study_id, r.point, r.arm, d.place, CASE
            WHEN r.valid IS NULL THEN 'attributed runs: tpb attribute'
            ELSE 'every validity gate passed (' || array_to_string(r.failed_gates, ', ') || ' did not)' END
    FROM runs r CROSS JOIN demands d WHERE r.status = 'complete' AND r.valid IS DISTINCT FROM true
    UNION ALL
    SELECT r.study_id, r.point, r.arm, d.place, unnest(CASE
            WHEN v."check" IS NULL THEN ['the levels of every run: tpb attribute RUN --with totals']
            WHEN v.passed THEN []::VARCHAR[]
            ELSE string_split(coalesce(v.reason, 'what the level demands'), '{SEPARATOR}') END)
    FROM runs r CROSS JOIN demands d LEFT JOIN validity v ON v.run_id = r.run_id AND v."check" = '{CHECK_PREFIX}' || d.level
    WHERE r.status = 'complete'
),
lacking AS (
    SELECT study_id, point, arm, place, min(sentence) AS sentence
    FROM said GROUP BY study_id, point, arm, place, split_part(sentence, ' (', 1)
),
reached AS (
    SELECT p.*, coalesce(min(l.place), {len(LEVELS)}) AS next_place FROM points p LEFT JOIN lacking l
        ON l.study_id IS NOT DISTINCT FROM p.study_id AND l.point IS NOT DISTINCT FROM p.point AND l.arm IS NOT DISTINCT FROM p.arm
    GROUP BY ALL
)
SELECT r.study_id, r.point, r.arm, r.engine, r.model, r.runs, r.repeats,
    {_NAMES}[r.next_place] AS level, {_NAMES}[r.next_place + 1] AS next_level,
    list(l.sentence ORDER BY l.sentence) FILTER (l.sentence IS NOT NULL) AS lacks
FROM reached r LEFT JOIN lacking l ON l.study_id IS NOT DISTINCT FROM r.study_id AND l.point IS NOT DISTINCT FROM r.point
    AND l.arm IS NOT DISTINCT FROM r.arm AND l.place = r.next_place
GROUP BY ALL
"""
