"""
What a task reports to OpenLineage, where Airflow's provider for it is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

__all__ = ["lineage"]

_SOURCE: Final = "onehouse"
"""What the request IDs belong to, for tools that show them."""

_REPORTED: Final = ("request_id", "job", "run_id", "label", "outcome", "status", "reason")
"""What is reported of a request: no response, which may be large, and may hold a secret."""


def lineage(statements: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Any:
    """
    Describe a task: its statements as the SQL of its job, and what became of its requests.

    Args:
        statements: What it submits, as far as it is known here.

        results: How its requests ended, as in `EventPayload`; none before that.

    Returns:
        An ``OperatorLineage``; `None` without the provider.
    """
    try:
        from airflow.providers.openlineage.extractors.base import (  # noqa: PLC0415 - optional
            OperatorLineage,
        )
        from openlineage.client.facet_v2 import (  # noqa: PLC0415 - comes with it
            external_query_run,
            sql_job,
        )
    except ImportError:
        return None
    job_facets = {}
    if statements:
        job_facets["sql"] = sql_job.SQLJobFacet(query=";\n".join(statements))
    run_facets: dict[str, Any] = {}
    if results:
        requests = [{name: one[name] for name in _REPORTED if one.get(name)} for one in results]
        run_facets["onehouse_requests"] = _facet_class()(requests=requests)
    if len(results) == 1 and results[0].get("request_id"):
        run_facets["externalQuery"] = external_query_run.ExternalQueryRunFacet(
            externalQueryId=results[0]["request_id"], source=_SOURCE
        )
    return OperatorLineage(run_facets=run_facets, job_facets=job_facets)


@cache
def _facet_class() -> Any:
    import attr  # noqa: PLC0415 - comes with the provider
    from openlineage.client.facet_v2 import RunFacet  # noqa: PLC0415 - the same

    @attr.define
    class OnehouseRequestsRunFacet(RunFacet):
        """The requests of a task, the runs of jobs that they have started, and how they ended."""

        requests: list[dict[str, Any]]

    return OnehouseRequestsRunFacet
