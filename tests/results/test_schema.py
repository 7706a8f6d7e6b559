"""The JSON schema that the wheel has, and what is imported when."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from klrl_envs.results.schema import SCHEMA, schema_text
from tests.results.records import COMPARISON, fields

ROOT = Path(__file__).resolve().parents[2]


def test_the_schema_is_that_of_the_record():
    assert SCHEMA.read_text("utf-8") == schema_text(), "python -m klrl_envs.results.schema writes it anew"
    package_data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert "results/schema.json" in package_data["package-data"]["klrl_envs"]


def test_the_schema_names_what_a_file_has():
    schema = json.loads(schema_text())
    assert list(schema["properties"]) == [*fields(), "comparison"]
    optional = {"budget", "evaluation", "tokens_to_half", "tokens_to_nine_tenths"}  # of schema version 2
    assert schema["required"] == [name for name in fields() if name not in optional]
    assert schema["additionalProperties"] is False
    assert list(schema["$defs"]["ComparisonRecord"]["properties"]) == list(COMPARISON)


def test_pydantic_waits_until_results_are_used_and_torch_until_later():
    code = (
        "import sys, klrl_envs\n"
        "assert 'pydantic' not in sys.modules\n"
        "klrl_envs.write_result, klrl_envs.RunRecord, klrl_envs.results.Entry\n"
        "import klrl_envs.results.runner, klrl_envs.results.report, klrl_envs.results.schema\n"
        "assert 'pydantic' in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
