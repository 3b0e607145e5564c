"""Loading the modules of KOMMO_HANDLERS."""

import sys
from textwrap import dedent

import pytest

from kommo.errors import HandlersError
from workers.handlers import load


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write modules into the current directory, which nothing but the loader makes importable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = set(sys.modules)

    def put(name, source):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source), encoding="utf-8")

    yield put
    for name in set(sys.modules) - before:
        del sys.modules[name]


GOOD = """
    from kommo import Router
    router = Router()

    @router.on("lead.added")
    def handle(event, kommo): ...
"""


def test_modules_of_the_current_directory_are_loaded_and_merged(write):
    write("shop_one", GOOD)
    write("shop_two.inner", GOOD)
    assert list(load(["shop_one", "shop_two.inner"]).handlers) == ["shop_one.handle", "shop_two.inner.handle"]


def test_a_module_that_is_named_twice_is_loaded_once(write):
    write("shop_twice", GOOD)
    assert len(load(["shop_twice", "shop_twice"]).handlers) == 1


def test_no_modules_give_an_empty_router():
    assert load([]).handlers == {}


@pytest.mark.parametrize("name", ["shop_absent", "shop_absent.inner", "shop_here.absent"])
def test_a_module_that_is_missing_is_named_with_the_variable_and_the_remedy(write, tmp_path, name):
    write("shop_here.other", GOOD)
    with pytest.raises(HandlersError) as caught:
        load([name])
    for part in ("KOMMO_HANDLERS", repr(name), "spelling", "PYTHONPATH", str(tmp_path)):
        assert part in str(caught.value)


def test_a_module_that_lacks_an_import_of_its_own_is_not_called_missing(write):
    write("shop_needs", "import shop_library_that_is_not_there")
    with pytest.raises(HandlersError, match=r"importing 'shop_needs' raised ModuleNotFoundError.*shop_needs\.py:1"):
        load(["shop_needs"])


def test_a_module_that_raises_is_named_with_its_last_line_and_the_cause_is_kept(write):
    write("shop_raises", "def setting():\n    return {}['STAGE']\n\nsetting()")
    with pytest.raises(HandlersError, match=r"shop_raises.*KeyError: 'STAGE'.*shop_raises\.py:2") as caught:
        load(["shop_raises"])
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_module_with_a_slip_in_its_syntax_is_named_with_the_line(write):
    write("shop_syntax", "router = Router()\ndef handle(:\n")
    with pytest.raises(HandlersError, match=r"SyntaxError.*shop_syntax\.py:2"):
        load(["shop_syntax"])


def test_a_wrong_registration_is_found_at_its_line(write):
    write("shop_typo", GOOD.replace("lead.added", "lead.adedd"))
    with pytest.raises(HandlersError, match=r"did you mean 'lead\.added'\?.*shop_typo\.py:5"):
        load(["shop_typo"])


@pytest.mark.parametrize("name", ["", ".relative", "..", "a b"])
def test_what_cannot_be_a_module_is_refused(name):
    with pytest.raises(HandlersError, match="KOMMO_HANDLERS"):
        load([name])


def test_a_module_without_router_is_refused(write):
    write("shop_empty", "x = 1")
    with pytest.raises(HandlersError, match="shop_empty has no `router"):
        load(["shop_empty"])


def test_a_router_of_another_type_is_refused(write):
    write("shop_other", "router = {}")
    with pytest.raises(HandlersError, match=r"`router` in shop_other is a dict, not a kommo\.Router"):
        load(["shop_other"])
