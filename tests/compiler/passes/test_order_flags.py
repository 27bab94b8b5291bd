import pytest

from rules_compiler.passes.order_flags import order_flags


def test_a_flag_comes_after_those_it_waits_for_and_else_by_key() -> None:
    depends = {"a": {"d"}, "b": set[str](), "c": {"a", "b"}, "d": set[str]()}
    assert order_flags(depends) == ("b", "d", "a", "c")


def test_without_dependencies_flags_keep_their_order() -> None:
    assert order_flags({"a": set(), "b": set()}) == ("a", "b")


def test_a_cycle_is_a_fault_of_the_front_end() -> None:
    with pytest.raises(ValueError, match="wait for each other"):
        order_flags({"a": {"b"}, "b": {"a"}, "c": set()})
