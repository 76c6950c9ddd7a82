"""Where studies are kept: a file that survives a torn line, or a PostgreSQL server."""

from pathlib import Path

import pytest

from baton.errors import OutputError, ParamsError
from baton.tune import storages
from tests.tune.made_up import asked, finish, told


def test_a_torn_line_is_no_harm(tmp_path: Path) -> None:
    before = told(finish(tmp_path / "a", asked(trials=4)).trials)
    with (tmp_path / "a").open("ab") as file:
        file.write(b'{"op_code": 4, "work')
    more = finish(tmp_path / "a", asked(trials=8))
    assert told(more.trials)[:4] == before and len(more.trials) == 8


def test_a_file_that_is_no_study_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello\n")
    with pytest.raises(OutputError, match="cannot be used"):
        storages.opened(str(tmp_path / "a"), "x")
    (tmp_path / "b").write_text("")
    with pytest.raises(OutputError, match="cannot be used"):
        storages.opened(str(tmp_path / "b/c"), "x")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://host/base", "postgresql://HOST/DATABASE"),
        ("sqlite:///x.db", "no server"),
        ("postgresql://me:secret@host/base", "PGPASSWORD"),
    ],
)
def test_other_addresses_are_refused(address: str, said: str) -> None:
    with pytest.raises(ParamsError, match=said) as caught:
        storages.opened(address, "x")
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages.extras.util, "find_spec", lambda _: None)
    with pytest.raises(ParamsError, match="make install EXTRAS=postgres"):
        storages.opened("postgresql://me@host/base", "x")
