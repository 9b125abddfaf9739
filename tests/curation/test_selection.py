"""What a condition selects, and what is no condition."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gpa.curation.selection import select
from gpa.runtime.errors import UserError

MANIFEST = pa.table(
    {
        "utterance_id": ["a", "b", "c"],
        "language": ["en", "zh", "en"],
        "pwer": [0.01, 0.02, None],
        "text": ["it's so", "你好", 'quoted "so"'],
    }
)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("language = 'en'", {"a", "c"}),
        ("language = 'en' and pwer < 0.05", {"a"}),
        ("pwer is null or text like '%好'", {"b", "c"}),
        ("text like '%it''s%'", {"a"}),
        ("false", set()),
    ],
)
def test_a_condition_selects_rows(where, found):
    assert select(MANIFEST, where) == found


@pytest.mark.parametrize(
    "where",
    [
        "",
        "nope = 3",
        "text",
        "true; drop table manifest",
        "true) union select 'x' --",
        "true order by 1",
        "(select count(*) from read_csv('/etc/passwd')) > 0",
        "(select count(*) from read_text('pyproject.toml')) > 0",
    ],
)
def test_what_is_no_condition_on_its_columns_is_refused_in_one_sentence(where):
    with pytest.raises(UserError, match="is no condition on the columns") as refused:
        select(MANIFEST, where)
    assert "\n" not in str(refused.value)
