"""
A web service that answers how requests ended: one tracker for the whole application.

The tracker lives as long as the application, so all calls draw on one budget, and two callers
who wait for the same ID cause one poll.  A client that hangs up ends its own waiting only.

    pip install onehouse-tracker fastapi uvicorn
    uvicorn fastapi_service:app            # one process; for several, use limiter="host"
    curl -d '{"request_ids": ["..."]}' -H 'Content-Type: application/json' localhost:8000/outcomes

Run in CI with each change.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

from onehouse_tracker import InvalidRequestError, ProjectError, Tracker


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the tracker with the application, and close it with it."""
    async with Tracker.from_env() as tracker:
        app.state.tracker = tracker
        yield


app = FastAPI(lifespan=lifespan)


class Question(BaseModel):
    """What somebody wants to know."""

    request_ids: list[str]
    timeout: float = Field(default=30.0, ge=0, le=300)
    """Seconds.  What is pending then is answered as TIMED_OUT, and can be asked for again."""


@app.post("/outcomes")
async def outcomes(question: Question, request: Request) -> dict[str, Any]:
    """Wait for all requests, and tell how each ended."""
    tracker: Tracker = request.app.state.tracker
    try:
        results = await tracker.wait_all(question.request_ids, timeout=question.timeout)
    except InvalidRequestError as error:
        raise HTTPException(422, str(error)) from None
    except ProjectError as error:  # wrong credentials, or nothing answers for minutes
        raise HTTPException(503, str(error)) from None
    return {
        request_id: {"outcome": str(result.outcome), "ok": result.ok, "reason": result.reason}
        for request_id, result in results.items()
    }


@app.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Tell how much is being followed, and how long one round of questions takes."""
    stats = request.app.state.tracker.stats()
    return {
        "pending": stats.pending,
        "outage": stats.outage,
        "round_time_s": stats.round_time,
        "refusals": stats.refusals,
    }
