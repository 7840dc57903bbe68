"""The rows of campaigns and their shards: who conducts one, its state, and what each shard has done."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from convbench.errors import RunNotFoundError, StoreError, TakenOverError
from convbench.model.campaign import Campaign, CampaignState, Shard, ShardState
from convbench.model.serial import campaign_from_json, stored
from convbench.store import schema
from convbench.store.place import Place
from convbench.store.runs import AnyRow, is_free, writer_columns, writer_of
from convbench.store.writer import Writer
from convbench.store.writing import dumps, insert_all
from convbench.version import __version__

#: Parts of the id of a campaign that a message lists.
_LISTED = 5


def begin(connection: Connection, campaign: Campaign, writer: Writer) -> int:
    """Store a new campaign with its shards, conducted by `writer`; returns its key."""
    values = {
        "id": campaign.id,
        "name": campaign.name,
        "how": campaign.how.value,
        "source": campaign.source,
        "version": __version__,
        "started_at": campaign.started_at,
        "finished_at": campaign.finished_at,
        "state": campaign.state.value,
        "controls": dumps(campaign.controls),
        **writer_columns(writer),
    }
    key: int = connection.execute(insert(schema.campaigns).returning(schema.campaigns.c.key), values).scalar_one()
    rows = ({"campaign_key": key, "position": shard.position, **_columns(shard)} for shard in campaign.shards)
    insert_all(connection, schema.shards, rows)
    return key


def _columns(shard: Shard) -> dict[str, object]:
    return {"machine": dumps(shard.machine), "case_ids": dumps(shard.case_ids), **_changing(shard)}


def _changing(shard: Shard) -> dict[str, object]:
    """The columns that change while a shard is measured."""
    return {
        "state": shard.state.value,
        "host": shard.host,
        "device": shard.device,
        "boot": shard.boot,
        "run_ids": dumps(shard.run_ids),
        "note": shard.note,
    }


def take_over(connection: Connection, ref: str, writer: Writer, version: int, place: Place) -> AnyRow:
    """Make `writer` the process that conducts an unfinished campaign; returns the campaign's row as it was.

    Raises StoreError where the campaign is finished, or where another process conducts it.
    """
    row = find(connection, ref, version, place)
    if row.state == CampaignState.FINISHED.value:
        raise StoreError(f"campaign {row.id} is finished", hint="`convbench fleet run CONFIG` begins another one")
    with place.decoding(row.id):
        free = is_free(row)
    columns = schema.campaigns.c
    # The condition repeats the check: of two processes that take over at the same time, one changes no row.
    before = [columns[name].is_not_distinct_from(getattr(row, name)) for name in writer_columns(None)]
    changed = connection.execute(
        update(schema.campaigns)
        .where(columns.key == row.key, *before)
        .values(state=CampaignState.RUNNING.value, finished_at=None, **writer_columns(writer))
    )
    if not free or changed.rowcount != 1:
        where = f" on {row.writer_host}" if row.writer_host else ""
        raise StoreError(
            f"campaign {row.id} is conducted by another process{where}", hint="let that one end, or interrupt it there"
        )
    return row


def defend(connection: Connection, key: int, campaign_id: str, writer: Writer) -> None:
    """Raise StoreError where another process conducts the campaign now. Locks its row until the transaction ends."""
    row = connection.execute(
        select(schema.campaigns).where(schema.campaigns.c.key == key).with_for_update()
    ).one_or_none()
    if row is None:
        raise StoreError(f"campaign {campaign_id} was deleted")
    if writer_of(row) != writer:
        raise TakenOverError(f"campaign {campaign_id} was taken over by another process", hint="end one of the two")


def update_shard(connection: Connection, key: int, shard: Shard) -> None:
    """Store what changes of a shard: state, host, device, runs, note. Its machine and its cases stay."""
    columns = schema.shards.c
    changed = connection.execute(
        update(schema.shards)
        .where(columns.campaign_key == key, columns.position == shard.position)
        .values(**_changing(shard))
    )
    if changed.rowcount != 1:
        raise StoreError(f"the campaign has no shard {shard.position}")


def finish(connection: Connection, key: int, state: CampaignState, finished_at: str) -> None:
    """Store how a campaign ended, and that no process conducts it any more."""
    ended = {"state": state.value, "finished_at": finished_at, **writer_columns(None)}
    connection.execute(update(schema.campaigns).where(schema.campaigns.c.key == key).values(**ended))


def conducted(connection: Connection, version: int, place: Place) -> dict[str, str]:
    """The runs of campaigns whose process may be alive, each with the reason why it stays."""
    found: dict[str, str] = {}
    for campaign in every(connection, version, place):
        if campaign.state is CampaignState.RUNNING:
            found |= dict.fromkeys(_run_ids(campaign), f"campaign {campaign.id} is being measured")
    return found


def emptied(connection: Connection, run_ids: Collection[str], version: int, place: Place) -> list[str]:
    """The ids of the campaigns that have no run any more without these runs, of which they have one at least."""
    left = {run_id for (run_id,) in connection.execute(select(schema.runs.c.id))} - set(run_ids)
    runs_of = {campaign.id: _run_ids(campaign) for campaign in every(connection, version, place)}
    return [id for id, its in runs_of.items() if its & set(run_ids) and not its & left]


def _run_ids(campaign: Campaign) -> set[str]:
    """The ids of all runs of a campaign's shards, stored or not."""
    return {run_id for shard in campaign.shards for run_id in shard.run_ids}


def delete_all(connection: Connection, ids: Collection[str]) -> None:
    """Delete these campaigns; their shards follow by ON DELETE CASCADE."""
    connection.execute(delete(schema.campaigns).where(schema.campaigns.c.id.in_(ids)))


def find(connection: Connection, ref: str, version: int, place: Place) -> AnyRow:
    """The row of the campaign with this id, of which it may be the beginning; `latest` is the newest.

    Raises RunNotFoundError where none or several match.
    """
    rows = _rows(connection, version)
    found = rows[:1] if ref == "latest" else [row for row in rows if row.id == ref]
    found = found or [row for row in rows if ref and str(row.id).startswith(ref)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{row.id} ({row.name})" for row in (found or rows)[:_LISTED])
    if found:
        raise RunNotFoundError(
            f"{ref!r} begins the ids of {len(found)} campaigns in {place}", hint=f"say more: {listed}"
        )
    hint = f"stored are {listed}" if listed else "`convbench fleet run CONFIG` measures one"
    raise RunNotFoundError(f"no campaign {ref!r} is stored in {place}", hint=hint)


def load(connection: Connection, row: AnyRow, place: Place) -> Campaign:
    """The campaign of a row, with its shards. It is checked like an exported file."""
    columns = schema.shards.c
    rows = connection.execute(
        select(schema.shards).where(columns.campaign_key == row.key).order_by(columns.position)
    ).all()
    return _campaign(row, rows, place)


def every(connection: Connection, version: int, place: Place) -> list[Campaign]:
    """All campaigns, newest first."""
    return [load(connection, row, place) for row in _rows(connection, version)]


def _rows(connection: Connection, version: int) -> Sequence[AnyRow]:
    """All campaigns of a database of a schema version, newest first."""
    if version < schema.CAMPAIGNS_SINCE:
        return []
    columns = schema.campaigns.c
    return connection.execute(select(schema.campaigns).order_by(columns.started_at.desc(), columns.key.desc())).all()


#: The columns of a campaign that are fields of it, unchanged; and those of a shard.
_PLAIN = ("id", "name", "how", "source", "started_at", "finished_at")
_PLAIN_OF_SHARD = ("position", "host", "device", "boot", "note")


def _campaign(row: AnyRow, shards: Sequence[AnyRow], place: Place) -> Campaign:
    with place.decoding(row.id):
        gone = _is_gone(row)
        document: dict[str, Any] = {
            **{name: getattr(row, name) for name in _PLAIN},
            "state": CampaignState.INTERRUPTED.value if gone else row.state,
            "controls": stored(row.controls),
            "shards": [
                {
                    **{name: getattr(shard, name) for name in _PLAIN_OF_SHARD},
                    "state": ShardState.INTERRUPTED.value if gone and _is_running(shard) else shard.state,
                    **{name: stored(getattr(shard, name)) for name in ("machine", "run_ids", "case_ids")},
                }
                for shard in shards
            ],
        }
        return campaign_from_json(document)


def _is_gone(row: AnyRow) -> bool:
    """Whether the process of a campaign was killed and could not store that: then it and its shards are interrupted."""
    return row.state == CampaignState.RUNNING.value and is_free(row)


def _is_running(shard: AnyRow) -> bool:
    return bool(shard.state == ShardState.RUNNING.value)
