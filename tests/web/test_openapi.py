"""The description of the API, as it is committed: `python -m tests.web.test_openapi` in the checkout writes it anew."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
COMMITTED = ROOT / "docs" / "openapi.json"


def made() -> str:
    sys.path.insert(0, str(ROOT / "tests"))
    from service import serving

    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "runs.db") as (client, _):
        return json.dumps(client.get("/api/v1/openapi.json").json(), indent=1, sort_keys=True) + "\n"


def test_the_committed_description_is_that_of_the_service() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == made(), "python -m tests.web.test_openapi"


def test_it_is_openapi_3_1_and_every_operation_says_its_errors() -> None:
    description = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert description["openapi"].startswith("3.1")
    operations = [one for some in description["paths"].values() for one in some.values()]
    assert len(operations) > 15
    for operation in operations:
        assert operation["summary"] and operation["description"] and operation["operationId"]
        for status in ("400", "401", "403", "404", "422", "503"):
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"]


if __name__ == "__main__":
    COMMITTED.write_text(made(), encoding="utf-8")
