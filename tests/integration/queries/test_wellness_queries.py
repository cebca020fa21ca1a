"""The queries of examples/wellness on tables like those that its streams make."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.dashboards.definition import Dashboards, check_columns
from headrace.queries.catalog import Catalog
from headrace.queries.execute import Executor
from headrace.warehouse.client import ClickHouse

WELLNESS = Path(__file__).parents[3] / "examples" / "wellness"
CATALOG = Catalog.load(WELLNESS / "queries")


@pytest.mark.parametrize("name", [query.name for query in CATALOG])
async def test_every_query_answers_for_everyone_for_one_user_and_for_no_time(executor: Executor, name: str) -> None:
    query = CATALOG.get(name)
    everyone = await executor.answer(query, {})
    assert everyone.rows > 0
    one = await executor.answer(query, {"user_id": ["user-1"]})
    assert one.rows > 0
    if "from" in {parameter.name for parameter in query.parameters}:
        nothing = await executor.answer(query, {"from": ["1990-01-01"], "to": ["1990-02-01"]})
        assert nothing.rows <= 1


async def test_distance_per_month_agrees_with_the_workouts(executor: Executor, clickhouse: ClickHouse) -> None:
    answer = await executor.answer(CATALOG.get("distance_run_per_month"), {})
    rows = await clickhouse.rows(
        "SELECT toStartOfMonth(logged_at) m, round(sum(distance_km), 1) FROM workouts_view WHERE type = 'run' "
        "AND logged_at >= toStartOfMonth(now() - INTERVAL 365 DAY) AND logged_at < now() GROUP BY m ORDER BY m"
    )
    assert [(r["month"], r["km"]) for r in answer.records()] == [(str(m), pytest.approx(km)) for m, km in rows]


async def test_the_dashboard_names_columns_that_exist(executor: Executor) -> None:
    dashboards = Dashboards.load(WELLNESS / "dashboards", CATALOG)
    await check_columns(dashboards, CATALOG, executor)
    assert len(dashboards) == 1
