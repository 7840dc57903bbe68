"""Campaigns: sweeps that were measured on several hosts, and their report."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse

from convbench.web.access import Reader
from convbench.web.answers_jobs import CampaignAnswer
from convbench.web.routes.runs import sandboxed
from convbench.web.state import TheService

router = APIRouter(tags=["campaigns"])

CampaignRef = Annotated[
    str, Path(min_length=1, max_length=200, description="`latest`, a campaign's id, or a unique prefix of one.")
]


@router.get("/campaigns")
def list_campaigns(service: TheService, reader: Reader) -> list[CampaignAnswer]:
    """List campaigns, the newest first."""
    return [CampaignAnswer.of(one) for one in service.store.campaigns()]


@router.get("/campaigns/{campaign}")
def get_campaign(service: TheService, reader: Reader, campaign: CampaignRef) -> CampaignAnswer:
    """Get a campaign with its shards, whose runs have the results."""
    return CampaignAnswer.of(service.store.campaign(campaign))


@router.get("/campaigns/{campaign}/report", response_class=HTMLResponse)
def report(service: TheService, reader: Reader, request: Request, campaign: CampaignRef) -> Response:
    """Get the report of a campaign: its machines side by side, in an origin of its own."""
    content, version = service.pages.campaign(service.store.campaign(campaign))
    return sandboxed(request, content, version)
