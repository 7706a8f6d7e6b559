"""`schema.json`: the JSON schema of `result.json`, for agents in other languages.

python -m klrl_envs.results.schema      writes it anew from ``RunRecord``
"""

from __future__ import annotations

import json
from pathlib import Path

from klrl_envs.results.document import write_atomically
from klrl_envs.results.record import RunRecord

SCHEMA = Path(__file__).with_name("schema.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text() -> str:
    """The text of the file: what must be there, of which type and form, in the field's order.

    What no schema can say (that the score lies in its interval, that the objective fits reward and KL) is
    checked when a record is read.
    """
    return json.dumps({"$schema": DIALECT, **RunRecord.model_json_schema()}, indent=2) + "\n"


def main() -> None:
    """Write the file."""
    write_atomically(SCHEMA, schema_text())
    print(SCHEMA)


if __name__ == "__main__":
    main()
